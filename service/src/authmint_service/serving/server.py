"""The HTTP server of one process, from the first connection to the last response."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Literal

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI

from authmint_service.draining import DrainingServer
from authmint_service.serving.connection_limit import MAX_INTERNAL_CONNECTIONS, RESERVED_FILES, fit_open_files
from authmint_service.serving.limited_http import limited_to

GRACEFUL_SECONDS = 10
"""How long requests in progress may take once the listener is closed."""
FILES_NOTE = (
    "This process may open {files} files, so it serves {connections} connections at a time and not {setting}, as "
    "AUTHMINT_MAX_CONNECTIONS says. Raise the limit of open files (ulimit -n, LimitNOFILE)."
)

log = structlog.get_logger(__name__)


async def serve_requests(
    app: FastAPI, listener: socket.socket, internal: socket.socket | None = None, *, shutdown_seconds: float
) -> None:
    """Serve until SIGTERM or SIGINT, and for `shutdown_seconds` after it. `internal`: where `app.state.internal` is served."""
    setting: int = app.state.max_connections
    connections = fit_open_files(setting)
    if connections < setting:
        files = connections + RESERVED_FILES
        log.warning("service.started", note=FILES_NOTE.format(files=files, connections=connections, setting=setting))
    async with AsyncExitStack() as stack:
        if internal is not None:
            await stack.enter_async_context(_serving_internally(app.state.internal, internal))
        await DrainingServer(_configure(app, connections), app.state.draining, shutdown_seconds).serve(sockets=[listener])


class _InternalServer(uvicorn.Server):
    """Leaves the signals to the server of the public listener."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def _serving_internally(app: FastAPI, listener: socket.socket) -> AsyncIterator[None]:
    """Serve during the block, so until the public listener has stopped."""
    server = _InternalServer(_configure(app, MAX_INTERNAL_CONNECTIONS, lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="internal listener")
    try:
        yield
    finally:
        server.should_exit = True
        await serving


def _configure(app: FastAPI, max_connections: int, *, lifespan: Literal["on", "off"] = "on") -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan=lifespan,
        loop="uvloop",
        http=limited_to(max_connections),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
    )


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
