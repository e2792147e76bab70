"""The HTTP server of one process, from the first connection to the last response."""

import asyncio
import signal
import socket
from collections.abc import Coroutine
from typing import Any

import uvicorn
import uvloop
from fastapi import FastAPI

from authmint_service.draining import DrainingServer
from authmint_service.serving.limited_http import LimitedHTTPProtocol

GRACEFUL_SECONDS = 10
"""How long requests in progress may take once the listener is closed."""


async def serve_requests(app: FastAPI, listener: socket.socket, *, shutdown_seconds: float) -> None:
    """Serve until SIGTERM or SIGINT, and for `shutdown_seconds` after it."""
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=LimitedHTTPProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
    )
    await DrainingServer(config, app.state.draining, shutdown_seconds).serve(sockets=[listener])


def run_until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it ends, or until SIGTERM or SIGINT."""

    async def run() -> None:
        # SIGTERM means the same as Ctrl-C from the start, so that an embedded database that was just started is stopped again.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
        await work

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())
    except KeyboardInterrupt:
        # uvicorn sends itself the signal again after it has stopped. Everything is closed by now.
        return
