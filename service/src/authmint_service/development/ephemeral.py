"""The folder of an ephemeral service, which goes with it, also when the service is killed."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from authmint_service.embedded_postgres import EmbeddedPostgresError, has_database, holding_embedded_postgres

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_DONE = b"."


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Provide a folder inside the block, and remove it afterwards, also when more signals come.

    Call it before there are threads: it forks. Programs that run browser tests like to kill what they have started; then the
    other process stops the PostgreSQL in the folder and removes the folder.
    """
    folder = Path(tempfile.mkdtemp(prefix="authmint-dev-"))
    reader, writer = os.pipe()
    watcher = os.fork()
    if watcher == 0:
        os.close(writer)
        _clean_up_after_a_kill(reader, folder)
    os.close(reader)
    try:
        yield folder
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        shutil.rmtree(folder, ignore_errors=True)
        os.write(writer, _DONE)
        os.close(writer)
        os.waitpid(watcher, 0)


def _clean_up_after_a_kill(reader: int, folder: Path) -> None:
    """Wait until the parent is done, or dead; never return."""
    # Not in the parent's group, which may be killed as a whole, and with none of its streams, whose ends others wait for.
    os.setsid()
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    if os.read(reader, 1) != _DONE:
        if has_database(folder):
            # The last to hold the server stops it.
            with suppress(EmbeddedPostgresError), holding_embedded_postgres(folder):
                pass
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)
