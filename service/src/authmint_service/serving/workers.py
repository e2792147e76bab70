"""The parent of several processes that serve, which share a port, a database and the cells that figures are counted in.

It is forked after everything was imported and before any thread or event loop exists: a process is there within a moment, and
shares the memory of what was imported. One that dies is replaced. SIGTERM and SIGINT stop all; SIGHUP reads the settings again
and replaces one process after another, each when its successor is ready. Processes do not outlive the parent.
"""

import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import structlog
from fastapi import FastAPI

from authmint_service.errors import SettingsError
from authmint_service.logs import error_locations
from authmint_service.metrics import Metrics
from authmint_service.serving.server import GRACEFUL_SECONDS, run_until_stopped, serve_requests

POLL_SECONDS = 0.05
START_SECONDS = 30.0
STOP_SECONDS = GRACEFUL_SECONDS + 20.0
"""After draining. Requests end within the first part; then connections to the database and hashes do."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
PROVEN_SECONDS = 60.0
"""Who has lived for this long did not die of its start: the next pause is the first again."""
HANDLED_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PR_SET_PDEATHSIG = 1

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Place:
    """A socket, and who listens on it."""

    listener: socket.socket
    worker: "_Worker | None" = None
    pause: float = FIRST_PAUSE
    not_before: float = 0.0
    """By the monotonic clock."""


@dataclass(slots=True, eq=False)
class _Worker:
    """One process, and the row of cells that it counts in."""

    pid: int
    row: int
    place: _Place
    started: float
    code: int | None = None
    """As `os.waitstatus_to_exitcode` has it; None as long as it runs."""


class Workers:
    """Starts a process at each place, and looks after them until it is told to stop."""

    def __init__(self, listeners: Sequence[socket.socket], *, drain: float) -> None:
        """`drain`: seconds that a process goes on serving after it was told to stop."""
        self._drain = drain
        self._places = [_Place(listener) for listener in listeners]
        self._running: list[_Worker] = []
        self._heard: list[int] = []
        self._any_was_ready = self._failed = False
        self._app: FastAPI

    @contextmanager
    def handle_signals(self) -> Iterator[None]:
        """Inside, signals are remembered until `run` looks at them: nothing is left half done."""
        before = {number: signal.signal(number, self._hear) for number in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def run(self, make_app: Callable[[FastAPI | None], FastAPI]) -> bool:
        """Whether it ended because it was told to. `make_app` makes one from the settings of the moment, after another or none.

        Raises SettingsError when the first cannot be made.
        """
        self._app = make_app(None)
        while not self._failed and not self._is_told_to_stop():
            if signal.SIGHUP in self._heard:
                self._heard.remove(signal.SIGHUP)
                self._replace_all(make_app)
            self._start_missing()
            self._look()
        self._stop()
        return not self._failed

    def _hear(self, number: int, _: FrameType | None) -> None:
        self._heard.append(number)

    def _is_told_to_stop(self) -> bool:
        return signal.SIGTERM in self._heard or signal.SIGINT in self._heard

    @property
    def _figures(self) -> Metrics:
        figures: Metrics = self._app.state.figures
        return figures

    def _start_missing(self) -> None:
        now = time.monotonic()
        for place in self._places:
            if place.worker is None and now >= place.not_before:
                place.worker = self._start(place, self._app)

    def _look(self) -> None:
        """Waits a moment, and takes note of who is ready and who has ended."""
        time.sleep(POLL_SECONDS)
        self._any_was_ready = self._any_was_ready or any(self._is_ready(worker) for worker in self._running)
        for worker in tuple(self._running):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                worker.code = os.waitstatus_to_exitcode(status)
                self._running.remove(worker)
                self._figures.forget(worker.row)
                if worker.place.worker is worker:
                    self._schedule_restart(worker)

    def _is_ready(self, worker: _Worker) -> bool:
        return self._figures.is_ready(worker.row)

    def _schedule_restart(self, worker: _Worker) -> None:
        place, now = worker.place, time.monotonic()
        place.worker = None
        if now - worker.started > PROVEN_SECONDS:
            place.pause = FIRST_PAUSE
        place.not_before, pause = now + place.pause, place.pause
        place.pause = min(2 * place.pause, LONGEST_PAUSE)
        if self._any_was_ready:
            log.error("worker.exited", pid=worker.pid, code=worker.code, restart_seconds=pause)
        elif not self._failed:
            # None has ever served: to try for ever would hide it from whoever starts the service.
            log.error("worker.failed", pid=worker.pid, code=worker.code)
            self._failed = True

    def _start(self, place: _Place, app: FastAPI) -> _Worker:
        taken = {worker.row for worker in self._running}
        row = next(row for row in range(self._figures.rows) if row not in taken)
        parent = os.getpid()
        # A signal between the fork and the child's own handlers would be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED_SIGNALS)
        pid = os.fork()
        if pid == 0:
            self._work(app, place, row, parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED_SIGNALS)
        log.info("worker.started", pid=pid)
        worker = _Worker(pid, row, place, time.monotonic())
        self._running.append(worker)
        return worker

    def _work(self, app: FastAPI, place: _Place, row: int, parent: int) -> None:
        """What the child does; it never returns."""
        code = 1
        try:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED_SIGNALS)
            _exit_with_parent(parent)
            for other in self._places:
                if other is not place:
                    other.listener.close()
            app.state.figures.bind_worker(row)
            run_until_stopped(serve_requests(app, place.listener, drain=self._drain))
            code = 0
        except Exception as error:
            log.error("error.unexpected", error_locations=error_locations(error))  # noqa: TRY400 - the text of an error may hold a secret
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            # Not `sys.exit`: what the parent has opened, its database for one, is not the child's to close.
            os._exit(code)

    def _replace_all(self, make_app: Callable[[FastAPI | None], FastAPI]) -> None:
        """A rolling restart: at each place the next is ready before the one before it is told to stop."""
        try:
            app = make_app(self._app)
        except SettingsError as error:
            log.error("settings.refused", reason=str(error))  # noqa: TRY400 - a sentence
            return
        for place in self._places:
            if self._is_told_to_stop() or not self._replace(place, app):
                return
        self._app = app
        log.info("workers.replaced")

    def _replace(self, place: _Place, app: FastAPI) -> bool:
        before, following = place.worker, self._start(place, app)
        deadline = time.monotonic() + START_SECONDS
        while following.code is None and not self._is_ready(following) and time.monotonic() < deadline:
            self._look()
        if not self._is_ready(following):
            self._end([following])
            log.error("worker.not_ready", pid=following.pid)
            return False
        place.worker = following
        if before is not None:
            self._end([before])
        return True

    def _stop(self) -> None:
        for place in self._places:
            # From here on the sockets are the workers' alone, and are gone when these stop listening.
            place.listener.close()
            place.worker = None
        self._end(self._running)

    def _end(self, workers: Sequence[_Worker]) -> None:
        """Tells them to stop, and waits; those that do not are killed."""
        ending = tuple(workers)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for worker in ending:
                if worker.code is None:
                    os.kill(worker.pid, number)
            deadline = time.monotonic() + self._drain + STOP_SECONDS
            while any(worker.code is None for worker in ending) and time.monotonic() < deadline:
                self._look()


def _exit_with_parent(parent: int) -> None:
    """Whatever becomes of the parent, nobody is left behind. (Linux alone has this.)"""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)
