"""The parent of several processes that serve. They share a port, a database and the memory of the metrics.

The parent forks them after everything was imported and before any thread or event loop exists: a process starts within
milliseconds, and shares the memory of what was imported. One that dies is replaced. SIGTERM and SIGINT stop all. SIGHUP reads
the settings again and replaces one process after another, each when its successor is ready. No process outlives the parent.
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
MIN_RESTART_SECONDS, MAX_RESTART_SECONDS = 0.1, 30.0
STABLE_SECONDS = 60.0
"""A process that has lived for longer did not die of its start: the next restart comes after MIN_RESTART_SECONDS again."""
HANDLED_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PR_SET_PDEATHSIG = 1

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Slot:
    """A socket, and the process that listens on it."""

    listener: socket.socket
    worker: "_Worker | None" = None
    restart_seconds: float = MIN_RESTART_SECONDS
    """How long the next restart waits."""
    restart_at: float = 0.0
    """By the monotonic clock."""


@dataclass(slots=True, eq=False)
class _Worker:
    """One process, and the row of the metrics that it counts in."""

    pid: int
    row: int
    slot: _Slot
    started_at: float
    """By the monotonic clock."""
    exit_code: int | None = None
    """As `os.waitstatus_to_exitcode` returns it; None while the process runs."""


class Workers:
    """Starts a process for each listener, and supervises them until a signal to stop."""

    def __init__(
        self, listeners: Sequence[socket.socket], internal: socket.socket | None = None, *, shutdown_seconds: float
    ) -> None:
        """`internal`: a socket that all processes share; `shutdown_seconds`: how long one serves after the signal to stop."""
        self._internal, self._shutdown_seconds = internal, shutdown_seconds
        self._slots = [_Slot(listener) for listener in listeners]
        self._running: list[_Worker] = []
        self._signals: list[int] = []
        self._any_was_ready = self._failed = False
        self._app: FastAPI

    @contextmanager
    def handle_signals(self) -> Iterator[None]:
        """Queue signals inside the block, until `run` handles them between two steps."""
        before = {number: signal.signal(number, self._queue_signal) for number in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def run(self, make_app: Callable[[FastAPI | None], FastAPI]) -> bool:
        """Supervise until a signal to stop; return False when the service failed instead.

        `make_app` makes an application from the current settings; its argument is the one before it, None at first. Raises
        SettingsError when the first cannot be made.
        """
        self._app = make_app(None)
        while not self._failed and not self._is_stopping():
            if signal.SIGHUP in self._signals:
                self._signals.remove(signal.SIGHUP)
                self._replace_all(make_app)
            self._start_missing()
            self._poll()
        self._stop()
        return not self._failed

    def _queue_signal(self, number: int, _: FrameType | None) -> None:
        self._signals.append(number)

    def _is_stopping(self) -> bool:
        return signal.SIGTERM in self._signals or signal.SIGINT in self._signals

    @property
    def _metrics(self) -> Metrics:
        metrics: Metrics = self._app.state.metrics
        return metrics

    def _start_missing(self) -> None:
        now = time.monotonic()
        for slot in self._slots:
            if slot.worker is None and now >= slot.restart_at:
                slot.worker = self._start(slot, self._app)

    def _poll(self) -> None:
        """Wait for POLL_SECONDS; then note which processes are ready and which have exited."""
        time.sleep(POLL_SECONDS)
        self._any_was_ready = self._any_was_ready or any(self._is_ready(worker) for worker in self._running)
        for worker in tuple(self._running):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                worker.exit_code = os.waitstatus_to_exitcode(status)
                self._running.remove(worker)
                self._metrics.clear_worker(worker.row)
                if worker.slot.worker is worker:
                    self._schedule_restart(worker)

    def _is_ready(self, worker: _Worker) -> bool:
        return self._metrics.is_ready(worker.row)

    def _schedule_restart(self, worker: _Worker) -> None:
        slot, now = worker.slot, time.monotonic()
        slot.worker = None
        if now - worker.started_at > STABLE_SECONDS:
            slot.restart_seconds = MIN_RESTART_SECONDS
        pause = slot.restart_seconds
        slot.restart_at = now + pause
        slot.restart_seconds = min(2 * pause, MAX_RESTART_SECONDS)
        if self._any_was_ready:
            log.error("worker.exited", pid=worker.pid, exit_code=worker.exit_code, restart_seconds=pause)
        elif not self._failed:
            # No process has ever served. Restarts without end would hide that from the operator who starts the service.
            log.error("worker.failed", pid=worker.pid, exit_code=worker.exit_code)
            self._failed = True

    def _start(self, slot: _Slot, app: FastAPI) -> _Worker:
        used = {worker.row for worker in self._running}
        row = next(row for row in range(self._metrics.rows) if row not in used)
        parent = os.getpid()
        # A signal between the fork and the child's own handlers would be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED_SIGNALS)
        pid = os.fork()
        if pid == 0:
            self._run_child(app, slot, row, parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED_SIGNALS)
        log.info("worker.started", pid=pid)
        worker = _Worker(pid, row, slot, time.monotonic())
        self._running.append(worker)
        return worker

    def _run_child(self, app: FastAPI, slot: _Slot, row: int, parent: int) -> None:
        """Serve, in the child; never return."""
        exit_code = 1
        try:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED_SIGNALS)
            _exit_with_parent(parent)
            for other in self._slots:
                if other is not slot:
                    other.listener.close()
            app.state.metrics.bind_worker(row)
            run_until_stopped(serve_requests(app, slot.listener, self._internal, shutdown_seconds=self._shutdown_seconds))
            exit_code = 0
        except Exception as error:
            log.error("error.unexpected", error_locations=error_locations(error))  # noqa: TRY400 - the text of an error may hold a secret
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            # Not `sys.exit`: what the parent has opened, its database for example, must not be closed by the child.
            os._exit(exit_code)

    def _replace_all(self, make_app: Callable[[FastAPI | None], FastAPI]) -> None:
        """Restart all processes one after another: each is stopped when its successor is ready."""
        try:
            app = make_app(self._app)
        except SettingsError as error:
            log.error("settings.refused", reason=str(error))  # noqa: TRY400 - its text is made for people, and holds no secret
            return
        for slot in self._slots:
            if self._is_stopping() or not self._replace(slot, app):
                return
        self._app = app
        log.info("workers.replaced")

    def _replace(self, slot: _Slot, app: FastAPI) -> bool:
        before, successor = slot.worker, self._start(slot, app)
        deadline = time.monotonic() + START_SECONDS
        while successor.exit_code is None and not self._is_ready(successor) and time.monotonic() < deadline:
            self._poll()
        if not self._is_ready(successor):
            self._terminate([successor])
            log.error("worker.not_ready", pid=successor.pid)
            return False
        slot.worker = successor
        if before is not None:
            self._terminate([before])
        return True

    def _stop(self) -> None:
        for slot in self._slots:
            # The workers alone have the sockets open from now on, which are gone when these stop listening.
            slot.listener.close()
            slot.worker = None
        if self._internal is not None:
            self._internal.close()
        self._terminate(self._running)

    def _terminate(self, workers: Sequence[_Worker]) -> None:
        """Send SIGTERM and wait; then kill the processes that have not exited."""
        terminated = tuple(workers)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for worker in terminated:
                if worker.exit_code is None:
                    os.kill(worker.pid, number)
            deadline = time.monotonic() + self._shutdown_seconds + STOP_SECONDS
            while any(worker.exit_code is None for worker in terminated) and time.monotonic() < deadline:
                self._poll()


def _exit_with_parent(parent: int) -> None:
    """Receive SIGTERM when the parent dies, so that no process is left behind. (Linux alone has this.)"""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)
