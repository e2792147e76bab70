"""An application of this process on a port of loopback, through the server's own parser and limits."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

from authmint_service.serving.limited_http import LimitedHTTPProtocol
from authmint_service.serving.listeners import bound_unread


@asynccontextmanager
async def listening(app: ASGIApp, protocol: type[LimitedHTTPProtocol] = LimitedHTTPProtocol) -> AsyncIterator[str]:
    """Its address, until the end of the block."""
    # Of a socket that does not say TCP asyncio does not switch off Nagle's algorithm, and each answer takes 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        bound_unread(listener).listen()
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                lifespan="off",
                http=protocol,
                ws="none",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=1,
            )
        )
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task
