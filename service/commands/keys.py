"""`mintmark-service keys …`"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from service.commands.output import open_for_command, say, say_json, say_table
from service.database import moment
from service.database_clock import DatabaseClock
from service.errors import Invalid
from service.revocations import RevocationStore
from service.settings import Settings, load_settings
from service.signing_keys import (
    Policy,
    Schedule,
    SigningKeyStore,
    StoredKey,
    public_jwks,
    read_imported_key,
    replace_leaked_keys,
)

app = typer.Typer(help="The keys that sign tokens. They rotate by themselves.", no_args_is_help=True)

COLUMNS = ("kid", "alg", "state", "published_at", "signs_from", "retired_at", "published_until", "revoked_at", "encrypted_with")
FOLLOWING = "Running services follow within seconds."


@app.command("list")
def list_keys(as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False) -> None:
    """List the keys and their times, the newest first. Times in the future are announced."""

    async def run(settings: Settings) -> list[dict[str, Any]]:
        async with _keys(settings) as keys:
            return [_row(key, keys.now) for key in await keys.store.load()]

    rows = asyncio.run(run(_settings()))
    if as_json:
        say_json(rows)
    else:
        say_table(COLUMNS, rows, empty="There are no signing keys yet: the service makes the first one when it starts.")


@app.command()
def rotate(
    emergency: Annotated[
        bool, typer.Option("--emergency", help="A key has leaked: another signs at once, and all others are revoked.")
    ] = False,
) -> None:
    """Announce the next key now. It signs when everybody has had time to fetch it."""

    async def announce(settings: Settings) -> tuple[str, Schedule]:
        async with _keys(settings) as keys:
            return await keys.store.announce_new(keys.policy, keys.now)

    async def replace(settings: Settings) -> None:
        async with _keys(settings) as keys:
            done = await replace_leaked_keys(keys.store, keys.policy, keys.now, keys.revocations.revoke_all)
        say(f"The key {done.kid} signs from now on. {FOLLOWING}")
        for kid in done.revoked:
            say(f"Revoked {kid}.")

    if emergency:
        asyncio.run(replace(_settings()))
        return
    kid, schedule = asyncio.run(announce(_settings()))
    say(f"Announced the key {kid}. It signs from {_shown(schedule.active_from)} on.")


@app.command()
def revoke(kid: Annotated[str, typer.Argument(help="Which one; see keys list.")]) -> None:
    """Take a key that does not sign out at once. For the one that signs there is rotate --emergency."""

    async def run(settings: Settings) -> None:
        async with _keys(settings) as keys:
            await keys.store.revoke(kid, keys.now)

    asyncio.run(run(_settings()))
    say(f"Revoked {kid}. {FOLLOWING}")


@app.command("import")
def import_key(
    file: Annotated[str, typer.Argument(help="PEM or a private JWK, unencrypted; - is standard input.")],
    algorithm: Annotated[str | None, typer.Option(help="For RSA: RS256 (if left out), RS384 or RS512.")] = None,
) -> None:
    """Announce a key of your own as the next one, if it is good enough."""
    key = read_imported_key(_read(file), algorithm)

    async def run(settings: Settings) -> Schedule:
        if key.algorithm != settings.signing_algorithm:
            raise Invalid(
                f"The key is for {key.algorithm}, and MINTMARK_SIGNING_ALGORITHM is {settings.signing_algorithm}: "
                "the next rotation would take it out again. Set that first."
            )
        async with _keys(settings) as keys:
            return await keys.store.announce(key, keys.policy, keys.now)

    schedule = asyncio.run(run(_settings()))
    say(f"Announced the key {key.kid}. It signs from {_shown(schedule.active_from)} on. Destroy the file.")


@app.command("export-public")
def export_public() -> None:
    """Print the published keys as a JWK set, for services that cannot fetch them (jwks_file)."""

    async def run(settings: Settings) -> list[dict[str, str]]:
        async with _keys(settings) as keys:
            return public_jwks(await keys.store.load(), keys.now)

    say_json({"keys": asyncio.run(run(_settings()))})


@app.command()
def reencrypt() -> None:
    """Encrypt all keys with the first of MINTMARK_KEY_ENCRYPTION_KEYS, so that the others can be dropped."""

    async def run(settings: Settings) -> int:
        async with _keys(settings) as keys:
            count, problems = await keys.store.reencrypt()
        if problems:
            raise Invalid(" ".join(problems))
        return count

    settings = _settings()
    count = asyncio.run(run(settings))
    say(f"Encrypted {count} key{'' if count == 1 else 's'} with the encryption key {settings.encryption_keys.current_id}.")


class _Keys:
    """What a command works with."""

    def __init__(self, store: SigningKeyStore, revocations: RevocationStore, policy: Policy, now: float) -> None:
        self.store, self.revocations, self.policy, self.now = store, revocations, policy, now


@asynccontextmanager
async def _keys(settings: Settings) -> AsyncIterator[_Keys]:
    async with open_for_command(settings) as database:
        now = await DatabaseClock.of(database, time.time).compare()
        store = SigningKeyStore(database, settings.encryption_keys)
        yield _Keys(store, RevocationStore(database), _policy(settings), now)


def _policy(settings: Settings) -> Policy:
    return Policy(
        algorithm=settings.signing_algorithm,
        period=settings.signing_key_rotation,
        token_lifetime=settings.access_token_ttl,
        rsa_bits=settings.rsa_key_bits,
    )


def _settings() -> Settings:
    settings = load_settings()
    if settings.hs256_secret is not None:
        raise Invalid("MINTMARK_SIGNING_ALGORITHM is HS256: there is one shared secret, and there are no keys.")
    return settings


def _row(key: StoredKey, now: float) -> dict[str, Any]:
    schedule = key.schedule
    return {
        "kid": key.kid,
        "alg": key.algorithm,
        "state": "unusable" if key.problem else schedule.state(now).value,
        "published_at": _shown(schedule.published_at),
        "signs_from": _shown(schedule.active_from),
        "retired_at": _shown(schedule.retired_at),
        "published_until": _shown(schedule.published_until),
        "revoked_at": _shown(schedule.revoked_at),
        "encrypted_with": key.encryption_key_id if key.signer or key.problem else None,
    }


def _shown(seconds: float | None) -> str | None:
    return None if seconds is None else moment(seconds).isoformat(timespec="seconds")


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read(65_537) if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}.") from error
