"""Requests to an application without an HTTP client or server, which would refuse to send some of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp


@dataclass(frozen=True)
class Response:
    """A response. Names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


async def ask(
    app: ASGIApp,
    method: str,
    path: str,
    *,
    query: bytes = b"",
    headers: Sequence[tuple[bytes, bytes]] = (),
    body: Sequence[bytes] = (b"",),
    has_host: bool = True,
    version: str = "1.1",
) -> Response:
    """Send a request. `body`: the pieces in which it arrives; `has_host`: add the usual Host if there is none."""
    is_given = any(name == b"host" for name, _ in headers)
    host = [(b"host", b"auth.example")] if has_host and not is_given else []
    pieces, sent = list(reversed(body)), list[Any]()
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": version, "method": method, "scheme": "https", "path": path,
        "raw_path": path.encode(errors="surrogatepass"), "query_string": query, "root_path": "", "headers": [*host, *headers],
        "client": ("127.0.0.1", 1), "server": ("auth.example", 443),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        piece = pieces.pop()
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    received = {name.decode("latin-1"): value.decode("latin-1") for name, value in sent[0]["headers"]}
    return Response(sent[0]["status"], received, b"".join(message.get("body", b"") for message in sent[1:]))
