"""The daemon thread of the process, with an event loop of its own: started with the first need, and anew after a fork.

It is the one thing that belongs to the process and to no owner. `background` has what runs in it.
"""

import asyncio
import atexit
import os
import socket
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context
from functools import partial
from importlib import import_module
from typing import Any

THREAD_NAME, LOOKUP_THREAD_NAME = "authmint-background", "authmint-lookup"
MAX_EXIT_SECONDS = 1.0
IMPORTED = ("httpcore2", "anyio._backends._asyncio", "cryptography.hazmat.backends.openssl")
"""What the first fetch would import. A fork meanwhile would leave half to the child, under a lock that nothing releases."""
for _name in IMPORTED:
    with suppress(ImportError):
        import_module(_name)


def pending() -> "Future[Any]":
    """Return a future that a caller cannot cancel: others wait for it as well."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future


def _finish(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


async def wait(outcome: "Future[Any]") -> None:
    """Wait on the caller's event loop until `outcome` is done. When the caller is cancelled, it stays as it is."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake(_: object) -> None:
        # The caller's loop may be closed by now.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_finish, waiter)

    outcome.add_done_callback(wake)
    await waiter


def _resolve(lookup: Callable[[], Any], found: "Future[Any]") -> None:
    try:
        found.set_result(lookup())
    except OSError as error:
        found.set_exception(error)


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that no garbage collection closes: after a fork the child's copy shares its descriptors with the parent."""

    def __del__(self) -> None:
        pass

    async def getaddrinfo(self, host: Any, port: Any, **hints: Any) -> Any:
        """Find the addresses in a daemon thread. For asyncio's own threads the exit of the interpreter would wait."""
        found = pending()
        lookup = partial(socket.getaddrinfo, host, port, **hints)
        threading.Thread(target=_resolve, args=(lookup, found), daemon=True, name=LOOKUP_THREAD_NAME).start()
        await wait(found)
        return found.result()


class Process:
    """What this process has of its own: the lock of all jobs, and the thread as soon as there is one."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._loop: _Loop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def call(self, function: Callable[..., None], *arguments: object) -> bool:
        """Call a function in the thread. Return False when there is none, because the interpreter ends. Hold the lock.

        It gets no context variables: work that goes on for days would keep those of the request that happened to begin it.
        """
        # Without a thread, and after the loop was closed, this is a RuntimeError.
        with suppress(RuntimeError):
            if self._loop is None:
                thread = threading.Thread(target=self._serve, args=(loop := _Loop(),), daemon=True, name=THREAD_NAME)
                thread.start()
                self._thread, self._loop = thread, loop
            self._loop.call_soon_threadsafe(function, *arguments, context=Context())
            return True
        return False

    def start_task(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task in the thread, which this calls."""
        task = asyncio.get_running_loop().create_task(work, name=THREAD_NAME)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def end(self) -> None:
        """End the thread, with everything that is under way."""
        if self._thread is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(MAX_EXIT_SECONDS)

    def _serve(self, loop: _Loop) -> None:
        loop.run_forever()
        under_way = asyncio.all_tasks(loop)
        for task in under_way:
            task.cancel()
        if under_way:
            loop.run_until_complete(asyncio.wait(under_way))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


# By process: what is under way in a parent is not under way in its child. Not every fork calls the hook (uWSGI's does not).
_processes: dict[int, Process] = {}


def current_process() -> Process:
    """Return what this process has. It is another object after a fork."""
    pid = os.getpid()
    return _processes.get(pid) or _processes.setdefault(pid, Process())


def _end_process() -> None:
    current_process().end()


if hasattr(os, "register_at_fork"):  # Windows has no fork.
    os.register_at_fork(after_in_child=_processes.clear)
atexit.register(_end_process)
