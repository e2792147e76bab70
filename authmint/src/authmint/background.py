"""Jobs for the one thread that fetches, for every resource server and every `ServiceAuth` of this process.

Callers wait for an outcome on any event loop, or on none. So no fetch ends because its caller was cancelled or because the
caller's loop was closed, and nothing depends on a hook that an application may not call. A job ends with its owner.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar
from weakref import WeakMethod

from authmint.background_thread import THREAD_NAME, Process, current_process, pending, wait
from authmint.errors import IssuerUnavailable

log = logging.getLogger("authmint.background")

MAX_RUN_SECONDS = 30.0
"""A run that takes longer is begun anew. No fetch takes that long: the process was frozen meanwhile."""
FAULT_PAUSE_SECONDS = 30.0

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, float | None]]


class Job:
    """Work of one owner in the background: one run at a time, as soon as it is needed, and again when it asks for that."""

    def __init__(self, work: Work, *, clock: Callable[[], float] = time.time) -> None:
        """`work`: a method of the owner, which returns the seconds until its next run, or None; `clock`: seconds."""
        self._work, self._clock = WeakMethod(work), clock
        self._process: Process | None = None
        self._outcome: Future[None] | None = None
        self._began = 0.0
        self._is_active = False
        self._task: asyncio.Task[float | None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_active(self) -> bool:
        """Whether it runs, or will run by itself. After a fork it is not."""
        return self._is_active and self._process is current_process()

    @property
    def is_running(self) -> bool:
        """Whether a run has begun and has no outcome yet."""
        return self._outcome is not None and self._process is current_process()

    def run(self) -> "Future[None]":
        """Begin a run, or join the one that is under way. Return a future that is done with its outcome."""
        process = self._enter_process()
        with process.lock:
            outcome = self._outcome
            if outcome is None or self._clock() - self._began > MAX_RUN_SECONDS:
                outcome = pending()
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
        ended, process = pending(), self._enter_process()
        with process.lock:
            was_active, self._is_active, self._outcome = self._is_active, False, None
            if not was_active or not process.call(self._end, ended):
                ended.set_result(None)
        return ended

    def _enter_process(self) -> Process:
        """Return the current process. What was under way in the parent is not under way in a child."""
        process = current_process()
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
            self._task = asyncio.get_running_loop().create_task(work(), name=THREAD_NAME)
            # Not in a `finally`: a task that is cancelled before its first step runs nothing.
            self._task.add_done_callback(partial(self._conclude, outcome))

    def _conclude(self, outcome: "Future[None]", task: "asyncio.Task[float | None]") -> None:
        pause: float | None = None
        if not task.cancelled():
            if error := task.exception():
                log.error("a job in the background failed", exc_info=error)
            pause = FAULT_PAUSE_SECONDS if error else task.result()
        with current_process().lock:
            if self._outcome is outcome:
                self._outcome = self._task = None
                self._is_active = pause is not None
                if pause is not None:
                    self._schedule(pause)
        outcome.set_result(None)

    def _schedule(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        if self._timer is None or due < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(due, _call_owned, WeakMethod(self._run_due))

    def _run_due(self) -> None:
        # A run may be under way already. Then the end of that one schedules the next.
        self._timer = None
        self.run()

    def _end(self, ended: "Future[None]") -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is None:
            ended.set_result(None)
        else:
            self._task.add_done_callback(lambda _: ended.set_result(None))
            self._task.cancel()


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
    process, answer = current_process(), pending()
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


def _call_owned(reference: "WeakMethod[Callable[[], None]]") -> None:
    method = reference()
    if method is not None:
        method()


async def _answer(awaitable: Awaitable[T], answer: "Future[T]") -> None:
    try:
        answer.set_result(await awaitable)
    except asyncio.CancelledError:
        answer.set_exception(IssuerUnavailable("the interpreter ends"))
        raise
    except Exception as error:
        answer.set_exception(error)
