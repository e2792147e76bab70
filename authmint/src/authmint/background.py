"""The one thread that fetches, for every resource server and every `ServiceAuth` of this process.

It is a daemon thread with an event loop of its own, which starts with the first need, and anew in a process that was forked.
Callers wait for an outcome on any event loop, or on none. So no fetch ends because its caller was cancelled or because the
caller's loop was closed, and nothing depends on a hook that an application may not call. A job ends with its owner.
"""

import asyncio
import atexit
import logging
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar
from weakref import WeakMethod, ref

from authmint.errors import IssuerUnavailable

log = logging.getLogger("authmint.background")

THREAD_NAME = "authmint-background"
MAX_RUN_SECONDS = 30.0
"""A run that takes longer is begun anew. No fetch takes that long: the process was frozen meanwhile."""
FAULT_PAUSE_SECONDS = 30.0
MAX_EXIT_SECONDS = 1.0

T = TypeVar("T")
Run = Coroutine[Any, Any, float | None]
Work = Callable[[], Run]


class Job:
    """Work of one owner in the background: one run at a time, as soon as it is needed, and again when it asks for that."""

    def __init__(self, work: Work, *, clock: Callable[[], float] = time.time) -> None:
        """`work`: a method of the owner, which returns the seconds until its next run, or None; `clock`: seconds."""
        self._work, self._clock = WeakMethod(work), clock
        self._process: _Process | None = None
        self._outcome: Future[None] | None = None
        self._began = 0.0
        self._is_active = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_active(self) -> bool:
        """Whether it runs, or will run by itself. After a fork it is not."""
        return self._is_active and self._process is _process

    @property
    def is_running(self) -> bool:
        """Whether a run has begun and has no outcome yet."""
        return self._outcome is not None and self._process is _process

    def run(self) -> "Future[None]":
        """Begin a run, or join the one that is under way. Return a future that is done with its outcome."""
        process = self._enter_process()
        with process.lock:
            outcome = self._outcome
            if outcome is None or self._clock() - self._began > MAX_RUN_SECONDS:
                outcome = _pending()
                self._outcome, self._began = outcome, self._clock()
                self._is_active = process.call(self._begin, outcome)
                if not self._is_active:
                    self._outcome = None
                    outcome.set_result(None)
            return outcome

    def run_within(self, seconds: float) -> None:
        """Begin the next run after these seconds at the latest."""
        process = self._enter_process()
        with process.lock:
            self._is_active = process.call(self._schedule, seconds)

    def stop(self) -> "Future[None]":
        """Cancel the run that is under way, and begin no other until the next need. The future is done when it has ended."""
        ended, process = _pending(), self._enter_process()
        with process.lock:
            was_active, self._is_active, self._outcome = self._is_active, False, None
            if not was_active or not process.call(self._end, ended):
                ended.set_result(None)
        return ended

    def _enter_process(self) -> "_Process":
        """Return the current process. What was under way in the parent is not under way in a child."""
        process = _process
        with process.lock:
            if self._process is not process:
                self._process, self._is_active = process, False
                self._outcome = self._task = self._timer = None
        return process

    def _begin(self, outcome: "Future[None]") -> None:
        for earlier in (self._timer, self._task):
            if earlier is not None:
                earlier.cancel()
        self._timer, work = None, self._work()
        if work is None:
            outcome.set_result(None)
        else:
            self._task = asyncio.get_running_loop().create_task(self._run(work(), outcome), name=THREAD_NAME)

    async def _run(self, work: Run, outcome: "Future[None]") -> None:
        pause: float | None = None
        try:
            pause = await work
        except Exception:
            log.exception("a job in the background failed")
            pause = FAULT_PAUSE_SECONDS
        finally:
            with _process.lock:
                is_current = self._outcome is outcome
                if is_current:
                    self._outcome = self._task = None
                    self._is_active = pause is not None
            if is_current and pause is not None:
                self._schedule(pause)
            outcome.set_result(None)

    def _schedule(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        if self._timer is None or due < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(due, _run_owned, ref(self))

    def _end(self, ended: "Future[None]") -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is None:
            ended.set_result(None)
        else:
            self._task.add_done_callback(lambda _: ended.set_result(None))
            self._task.cancel()


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


async def wait_at_most(seconds: float, *outcomes: "Future[Any]") -> None:
    """Wait until all of `outcomes` are done, or until these seconds have passed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            for outcome in outcomes:
                await wait(outcome)


def result_of(awaitable: Awaitable[T]) -> T:
    """Await it in the thread, and return its result to a caller without an event loop.

    Raise what it raises, and IssuerUnavailable when the interpreter ends.
    """
    process, answer = _process, _pending()
    with process.lock:
        if not process.call(process.start_task, _answer(awaitable, answer)):
            raise IssuerUnavailable("the interpreter ends")
    found: T = answer.result()
    return found


@asynccontextmanager
async def running(jobs: Sequence[Job], *, seconds: float) -> AsyncIterator[None]:
    """Run the jobs now, and stop them at the end of the block. It begins with their first outcomes, or after these seconds."""
    await wait_at_most(seconds, *[job.run() for job in jobs])
    try:
        yield
    finally:
        await wait_at_most(seconds, *[job.stop() for job in jobs])


def _pending() -> "Future[Any]":
    future: Future[Any] = Future()
    # From here on a caller cannot cancel it: others wait for it as well.
    future.set_running_or_notify_cancel()
    return future


def _finish(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


def _run_owned(reference: "ref[Job]") -> None:
    job = reference()
    if job is not None:
        job.run()


async def _answer(awaitable: Awaitable[T], answer: "Future[T]") -> None:
    try:
        answer.set_result(await awaitable)
    except asyncio.CancelledError:
        answer.set_exception(IssuerUnavailable("the interpreter ends"))
        raise
    except Exception as error:
        answer.set_exception(error)


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
        found = _pending()
        lookup = partial(socket.getaddrinfo, host, port, **hints)
        threading.Thread(target=_resolve, args=(lookup, found), daemon=True, name=THREAD_NAME).start()
        await wait(found)
        return found.result()


class _Process:
    """What this process has of its own: the lock of all jobs, and the thread as soon as there is one."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._loop: _Loop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def call(self, function: Callable[..., None], *arguments: object) -> bool:
        """Call a function in the thread. Return False when there is none, because the interpreter ends. Hold the lock."""
        # Without a thread, and after the loop was closed, this is a RuntimeError.
        with suppress(RuntimeError):
            if self._loop is None:
                self._thread = threading.Thread(target=self._serve, args=(loop := _Loop(),), daemon=True, name=THREAD_NAME)
                self._thread.start()
                self._loop = loop
            self._loop.call_soon_threadsafe(function, *arguments)
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


# The one thing that belongs to the process and to no owner: there is one thread, and each job finds it.
_process = _Process()


def _begin_process() -> None:
    global _process
    _process = _Process()


def _end_process() -> None:
    _process.end()


os.register_at_fork(after_in_child=_begin_process)
atexit.register(_end_process)
