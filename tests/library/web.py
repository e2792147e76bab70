"""A real server on loopback that can respond, fail, send nonsense and hang, and a clock that a test moves."""

import asyncio
import hashlib
import json
import re
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from authmint.jose import encode_base64url
from tests.library.conftest import NOW, Issuer


class Web:
    """Responds to requests on loopback, and counts them. `answers`: path to bytes of a whole response, or None to hang.

    A path without a query stands for all queries that are not there.
    """

    def __init__(self) -> None:
        self.answers: dict[str, bytes | None] = {}
        self.bad: dict[str, bytes | None] = {}
        """The responses to requests with an Authorization header, where they differ."""
        self.next: dict[str, bytes] = {}
        """What is responded to the next request of a path alone."""
        self.delays: dict[str, float] = {}
        """Seconds before the response, by path."""
        self.hits: list[str] = []
        self.heads: list[str] = []
        """The head of each request, in lower case."""
        self.bodies: list[bytes] = []
        """The body of each request; of one without Content-Length in its chunks."""
        self.url = ""

    def json(self, path: str, content: Any, *, status: int = 200, headers: str = "") -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        head = f"HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-type: application/json\r\n"
        head += f"content-length: {len(body)}\r\n{headers}\r\n"
        self.answers[path] = head.encode() + body

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            # Closing with something unread would reset the connection.
            body = b""
            if length := re.search(rb"\r\ncontent-length: (\d+)", request, re.IGNORECASE):
                body = await reader.readexactly(int(length[1]))
            elif b"\r\ntransfer-encoding: chunked" in request.lower():
                while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                    body += (await reader.readexactly(size + 2))[:-2]
                await reader.readuntil(b"\r\n")
            self.bodies.append(body)
            path = request.split(b" ")[1].decode()
            self.hits.append(path)
            self.heads.append(request.decode().lower())
            answers = self.bad if b"\r\nauthorization:" in request.lower() and path in self.bad else self.answers
            missing = b"HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n"
            answer = answers.get(path, answers.get(path.partition("?")[0], missing))
            answer = self.next.pop(path, answer)
            await asyncio.sleep(self.delays.get(path, 0))
            if answer is None:
                await asyncio.sleep(60)
            else:
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def web(tls: ssl.SSLContext | None = None) -> AsyncIterator[Web]:
    site = Web()
    tasks: set[asyncio.Task[None]] = set()
    writers: set[asyncio.StreamWriter] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        tasks.add(asyncio.ensure_future(site.answer(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    site.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield site
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A task that was cancelled before its first step has closed nothing.
        for writer in writers:
            writer.close()
        await asyncio.sleep(0)


@contextmanager
def web_in_thread() -> Iterator[Web]:
    """The same for tests without an event loop, or with many: the server has a thread of its own."""
    started: Future[tuple[Web, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        async with web() as site:
            ended = asyncio.Event()
            started.set_result((site, asyncio.get_running_loop(), ended))
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    site, loop, ended = started.result()
    try:
        yield site
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


def publish(site: Web, *issuers: Issuer, headers: str = "") -> None:
    """Publish a complete issuer at the site's root."""
    site.json(
        "/.well-known/oauth-authorization-server",
        {"issuer": site.url, "jwks_uri": f"{site.url}/jwks", "token_endpoint": f"{site.url}/token"},
    )
    site.json("/jwks", {"keys": [issuer.key.public_jwk() for issuer in issuers]}, headers=headers)


MINUTE = NOW // 60 + 10
"""Until which the entries of a list are needed that is of the moment `NOW`."""


def pack(*texts: str) -> str:
    """Return the pack of some sessions or tokens (docs/revocation-list.md)."""
    return encode_base64url(b"".join(sorted({hashlib.sha256(text.encode()).digest()[:8] for text in texts})))


def sign_list(site: Web, issuer: Issuer, *sids: str, typ: str = "revocation-list+jwt", at: float = NOW, **more: Any) -> bytes:
    """Return the revocation list of the moment `at` with these sessions. `more`: other members."""
    sessions = {str(int(at) // 60 + 10): pack(*sids)}
    members = {"iss": site.url, "iat": int(at), "serial": int(at * 1000), "sessions": sessions} | more
    return issuer.signer.sign(members, typ=typ).encode()


LIST_PATH = "/revocation-list"


def publish_list(site: Web, issuer: Issuer, *sids: str, at: float = NOW, **more: Any) -> None:
    """Publish a revocation list of these sessions, beside what `publish` has published. `more`: other members."""
    members = {"issuer": site.url, "jwks_uri": f"{site.url}/jwks", "revocation_list_uri": f"{site.url}{LIST_PATH}"}
    site.json("/.well-known/oauth-authorization-server", members)
    site.json(LIST_PATH, sign_list(site, issuer, *sids, at=at, **more))
