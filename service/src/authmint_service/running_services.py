"""The development services that run on this computer, as files in the user's own folder, so that commands find them.

A service holds a lock on its file for as long as it runs. A file without a lock was left by a process that died: it is ignored
and removed. No file has a secret. Only platformdirs decides where the folders of a user are, and only this module asks it.
"""

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import platformdirs

_PREFIX, _SUFFIX = "service-", ".json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningService:
    """A development service that runs, and how a command gets the settings that it runs with."""

    url: str
    data_dir: str
    pid: int
    settings: Mapping[str, Any]
    """The settings that are no secrets, by field."""
    secrets: Sequence[str]
    """The fields of the secrets that its environment has set. The others are in its data folder."""
    ephemeral: bool = False
    """Whether its data goes with it. It is found by its data folder alone."""


def data_folder() -> Path:
    """Return the folder of this user for the data of a development service."""
    return platformdirs.user_data_path("authmint")


@contextmanager
def listed(service: RunningService) -> Iterator[None]:
    """List a service inside the block. Without a folder for the state of this user, or on a full disk, it is not."""
    try:
        folder = _folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, path = tempfile.mkstemp(prefix="new-", dir=folder)
    except OSError:
        yield
        return
    name = Path(path).with_name(f"{_PREFIX}{Path(path).name.removeprefix('new-')}{_SUFFIX}")
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        # Locked before it has the name that others look for: they never find it complete and without a lock.
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            file.write(json.dumps(asdict(service)).encode())
            Path(path).rename(name)
        except OSError:
            # The disk is full.
            Path(path).unlink(missing_ok=True)
        try:
            yield
        finally:
            name.unlink(missing_ok=True)


def running_services() -> list[RunningService]:
    """Return the services that run, in the order of their addresses. Remove the files of those that have died.

    Where the folder cannot be read no service has listed itself.
    """
    paths: list[Path] = []
    with suppress(OSError):
        paths += _folder().glob(f"{_PREFIX}*{_SUFFIX}")
    found = [_read(path) for path in paths]
    return sorted((service for service in found if service is not None), key=lambda service: service.url)


def _read(path: Path) -> RunningService | None:
    with suppress(OSError, ValueError, TypeError), path.open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return RunningService(**json.load(file))
        path.unlink(missing_ok=True)
    return None


def _folder() -> Path:
    return platformdirs.user_state_path("authmint") / "services"
