"""`authmint-service keys …`"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from authmint_service.commands.operator import operator
from authmint_service.commands.output import AsJson, echo, echo_json, echo_table, open_database
from authmint_service.commands.service_settings import DataDir, load_service_settings
from authmint_service.database import Database, ask_time, to_datetime
from authmint_service.errors import InvalidValue
from authmint_service.processes import ProcessStore, SecretKind
from authmint_service.secret_keys import SecretKeys
from authmint_service.settings import Settings
from authmint_service.signing_keys import (
    EmergencyRotation,
    RotationPolicy,
    Schedule,
    SigningKeyStore,
    StoredKey,
    public_jwks,
    read_imported_key,
    rotate_emergency,
)

app = typer.Typer(name="keys", help="The keys that sign tokens. They rotate by themselves.", no_args_is_help=True)

COLUMNS = (
    "kid",
    "alg",
    "state",
    "published_at",
    "active_from",
    "retired_at",
    "withdrawn_at",
    "revoked_at",
    "encryption_key_id",
)
FOLLOWING = "Running services load the change within two seconds."


@app.command("list")
def list_keys(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List the signing keys of all algorithms and their times, the newest first. Times in the future are planned."""

    async def run(settings: Settings) -> list[dict[str, Any]]:
        async with _keys(settings) as keys:
            return [_row(key, keys.now) for key in await keys.store.load()]

    rows = asyncio.run(run(_settings(data_dir)))
    if as_json:
        echo_json(rows)
    else:
        echo_table(COLUMNS, rows, empty="There are no signing keys yet: the service makes the first one when it starts.")


@app.command()
def rotate(
    emergency: Annotated[
        bool, typer.Option("--emergency", help="A key has leaked: new ones sign in two seconds, and all others are revoked.")
    ] = False,
    algorithm: Annotated[
        str | None,
        typer.Option(help="The line of this algorithm; without it that of access tokens."),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Announce the next key now. It signs once all services have had time to fetch it."""
    settings = _settings(data_dir)
    if emergency:
        if algorithm is not None:
            raise InvalidValue("emergency_is_for_all", field="algorithm")
        rotation = asyncio.run(_rotate_emergency(settings))
        for kid, line in rotation.created.items():
            echo(f"The key {kid} signs with {line} from now on.")
        for kid in rotation.revoked:
            echo(f"Revoked {kid}.")
        echo(FOLLOWING)
        return

    async def announce() -> tuple[str, Schedule]:
        async with _keys(settings) as keys:
            return await keys.store.announce_new(keys.policy, keys.now, actor=operator(), algorithm=algorithm)

    if algorithm is not None:
        _check_line(algorithm, settings)
    kid, schedule = asyncio.run(announce())
    echo(f"Announced the key {kid}. It signs from {_format(schedule.active_from)} on.")


async def _rotate_emergency(settings: Settings) -> EmergencyRotation:
    async with _keys(settings) as keys:
        return await rotate_emergency(keys.store, keys.policy, keys.now, actor=operator())


def _check_line(algorithm: str, settings: Settings) -> None:
    """Raise InvalidValue if there is no line with this algorithm."""
    if algorithm not in settings.signing_algorithms:
        configured = ", ".join(settings.signing_algorithms)
        raise InvalidValue("line_unknown", field="algorithm", algorithm=algorithm, configured=configured)


# One id of 64 begins with a hyphen, as they are base64url: it is no option.
@app.command(context_settings={"ignore_unknown_options": True})
def revoke(kid: Annotated[str, typer.Argument(help="The key's id; see keys list.")], data_dir: DataDir = None) -> None:
    """Revoke a key that does not sign. For the one that signs, use rotate --emergency."""

    async def run(settings: Settings) -> None:
        async with _keys(settings) as keys:
            await keys.store.revoke(kid, keys.now, actor=operator())

    asyncio.run(run(_settings(data_dir)))
    echo(f"Revoked {kid}. {FOLLOWING}")


@app.command("import")
def import_key(
    file: Annotated[str, typer.Argument(help="PEM or a private JWK, unencrypted; - is standard input.")],
    algorithm: Annotated[str | None, typer.Option(help="For RSA: RS256 (the default), RS384 or RS512.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Announce a key of your own as the next one of its line. A weak key is refused."""
    key = read_imported_key(_read(file), algorithm)

    async def run(settings: Settings) -> Schedule:
        if key.algorithm not in settings.signing_algorithms:
            configured = ", ".join(settings.signing_algorithms)
            raise InvalidValue("key_other_algorithm", field="key", algorithm=key.algorithm, configured=configured)
        async with _keys(settings) as keys:
            return await keys.store.announce(key, keys.policy, keys.now, actor=operator())

    schedule = asyncio.run(run(_settings(data_dir)))
    echo(f"Announced the key {key.kid}. It signs from {_format(schedule.active_from)} on. Destroy the file.")


@app.command("export-public")
def export_public(data_dir: DataDir = None) -> None:
    """Print the published keys as a JWK set, for services that cannot fetch them (jwks_file)."""

    async def run(settings: Settings) -> list[dict[str, str]]:
        async with _keys(settings) as keys:
            return public_jwks(await keys.store.load(), keys.now)

    echo_json({"keys": asyncio.run(run(_settings(data_dir)))})


@app.command()
def reencrypt(data_dir: DataDir = None) -> None:
    """Encrypt all keys with the first of AUTHMINT_KEY_ENCRYPTION_KEYS that all live processes have."""

    async def run(settings: Settings) -> tuple[int, int]:
        async with _keys(settings) as keys:
            count, problems = await keys.store.reencrypt()
        if problems:
            raise InvalidValue("keys_unreadable", field="keys", problems=" ".join(problems))
        return count, keys.encryption_key_id

    settings = _settings(data_dir)
    count, key_id = asyncio.run(run(settings))
    echo(f"Encrypted {count} key{'' if count == 1 else 's'} with the encryption key {key_id}.")
    if key_id != (first := settings.encryption_keys.current_id):
        echo(f"The key {first} is not used yet: not all live processes have it. See: authmint-service secrets list")


class _Keys:
    """The store, the rotation policy, and the time of the database in seconds since the epoch."""

    def __init__(self, database: Database, secrets: SecretKeys, policy: RotationPolicy, now: float) -> None:
        """`secrets`: the current one encrypts what is made or encrypted again."""
        self.store = SigningKeyStore(database, secrets)
        self.encryption_key_id, self.policy, self.now = secrets.current_id, policy, now


@asynccontextmanager
async def _keys(settings: Settings) -> AsyncIterator[_Keys]:
    async with open_database(settings) as database:
        secrets = await ProcessStore(database).shared_keys(SecretKind.KEY_ENCRYPTION, settings.encryption_keys)
        if secrets is None:
            raise InvalidValue("encryption_keys_not_shared", field="key_encryption_keys")
        yield _Keys(database, secrets, _policy(settings), await ask_time(database))


def _policy(settings: Settings) -> RotationPolicy:
    return RotationPolicy(
        algorithms=settings.signing_algorithms,
        period=settings.signing_key_rotation_seconds,
        token_lifetime=settings.access_token_ttl,
        rsa_bits=settings.signing_rsa_bits,
    )


def _settings(data_dir: Path | None) -> Settings:
    settings = load_service_settings(data_dir)
    if settings.hmac_secret is not None:
        raise InvalidValue("keys_not_used", field="signing_algorithm")
    return settings


def _row(key: StoredKey, now: float) -> dict[str, Any]:
    schedule = key.schedule
    return {
        "kid": key.kid,
        "alg": key.algorithm,
        "state": "unusable" if key.problem else schedule.state(now).value,
        "published_at": _format(schedule.published_at),
        "active_from": _format(schedule.active_from),
        "retired_at": _format(schedule.retired_at),
        "withdrawn_at": _format(schedule.withdrawn_at),
        "revoked_at": _format(schedule.revoked_at),
        "encryption_key_id": key.encryption_key_id if key.signer or key.problem else None,
    }


def _format(seconds: float | None) -> str | None:
    """Return a time in ISO 8601."""
    return None if seconds is None else to_datetime(seconds).isoformat(timespec="seconds")


def _read(file: str) -> bytes:
    """Return the content of a file, or of standard input. Raise InvalidValue."""
    try:
        return sys.stdin.buffer.read(65_537) if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise InvalidValue("file_unreadable", field="file", file=file, reason=error.strerror) from error
