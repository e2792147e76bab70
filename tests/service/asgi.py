"""Asks an application without a client or a server between, who would not let everything through."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI


@dataclass(frozen=True)
class Answer:
    """What came back. Names of headers are in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes


async def ask(
    app: FastAPI,
    method: str,
    path: str,
    *,
    query: bytes = b"",
    headers: Sequence[tuple[bytes, bytes]] = (),
    body: Sequence[bytes] = (b"",),
) -> Answer:
    """`body`: the pieces in which it arrives."""
    pieces, said = list(reversed(body)), list[Any]()
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "https", "path": path,
        "raw_path": path.encode(errors="surrogatepass"), "query_string": query, "root_path": "", "headers": list(headers),
        "client": ("127.0.0.1", 1), "server": ("auth.example", 443),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        piece = pieces.pop()
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        said.append(message)

    await app(scope, receive, send)
    told = {name.decode("latin-1"): value.decode("latin-1") for name, value in said[0]["headers"]}
    return Answer(said[0]["status"], told, b"".join(message.get("body", b"") for message in said[1:]))
