"""A minimal HTTP client, cheap enough for a million requests, that distinguishes a lost response from a refused connection."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

SECONDS = 12.0


class Lost(Exception):
    """No response came. Whether the work was done is unknown."""


class NotSent(Exception):
    """The connection was refused, so nothing was sent."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def members(self) -> dict[str, Any]:
        members: dict[str, Any] = json.loads(self.content) if self.content else {}
        return members


class Connection:
    """One connection to 127.0.0.1, opened when it is needed and after each failure."""

    def __init__(self, port: int, seconds: float = SECONDS) -> None:
        """`seconds`: how long to wait for an answer."""
        self.port, self._seconds = port, seconds
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self,
        method: str,
        path: str,
        form: Mapping[str, str] | None = None,
        bearer: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Raises Lost or NotSent."""
        content = urlencode(form or {}).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(content)}"]
        lines += ["Content-Type: application/x-www-form-urlencoded"] if form is not None else []
        lines += [f"Authorization: Bearer {bearer}"] if bearer else []
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        request = "\r\n".join([*lines, "", ""]).encode() + content
        try:
            async with asyncio.timeout(self._seconds):
                return await self._exchange(request)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            self.close()
            raise Lost from error
        except BaseException:
            self.close()
            raise

    async def _exchange(self, request: bytes) -> Answer:
        if self._streams is None or self._streams[0].at_eof():
            self.close()
            try:
                self._streams = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionRefusedError as error:
                raise NotSent from error
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:]) if name}
        content = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection") == "close":
            self.close()
        return Answer(int(head[0].split(" ", 2)[1]), headers, content)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
