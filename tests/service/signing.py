"""Helpers for tests of signing keys: stores, policies, published keys."""

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from authmint.jose import Parser
from authmint_service.database import Database
from authmint_service.settings import Settings
from authmint_service.signing_keys import EmergencyRotation, RotationPolicy, SigningKeyStore, rotate_emergency
from tests.actors import OPERATOR
from tests.service.conftest import Clock, Service, make_settings, migrated_database

DAY, NOW = 86_400, Clock().now


def policy(*algorithms: str, period: float = 30 * DAY) -> RotationPolicy:
    """Return the policy for lines with these algorithms; for one with ES256 without any."""
    return RotationPolicy(algorithms=algorithms or ("ES256",), period=period, token_lifetime=300, rsa_bits=2048)


def new_encryption_key(number: int = 1) -> str:
    """Return a new key as AUTHMINT_KEY_ENCRYPTION_KEYS lists it."""
    return f"{number}:{base64.b64encode(secrets.token_bytes(32)).decode()}"


def store_of(database: Database, settings: Settings) -> SigningKeyStore:
    return SigningKeyStore(database, settings.encryption_keys)


@asynccontextmanager
async def empty_store(server_dsn: str) -> AsyncIterator[tuple[str, Database, SigningKeyStore]]:
    """Yield the DSN of a migrated database without keys, an open connection to it, and its key store."""
    async with migrated_database(server_dsn) as dsn, (database := Database(size=4)).open(dsn):
        yield dsn, database, store_of(database, make_settings(dsn))


async def replace_leaked_keys(
    store: SigningKeyStore, clock: Clock, rotation: RotationPolicy | None = None
) -> EmergencyRotation:
    """Do what `keys rotate --emergency` does; the clock goes on, and nobody waits."""

    async def pause(seconds: float) -> None:
        clock.now += seconds

    return await rotate_emergency(store, rotation or policy(), clock.now, actor=OPERATOR, pause=pause)


async def jwks_of(service: Service) -> dict[str, Any]:
    answer = await service.http.get("/.well-known/jwks.json")
    assert 200 == answer.status_code, answer.text
    keys: dict[str, Any] = answer.json()
    return keys


async def kids_of(service: Service) -> set[str]:
    return {key["kid"] for key in (await jwks_of(service))["keys"]}


def kid_of(token: str) -> str:
    """Return the `kid` in the header of a token."""
    return str(Parser(types=None).parse(token).header.key_id)


async def seen(service: Service, kids: set[str]) -> None:
    """Wait until the service publishes exactly these keys."""
    async with asyncio.timeout(10):
        while await kids_of(service) != kids:
            await asyncio.sleep(0.02)


async def signs(service: Service, secret: str) -> str:
    """Return the `kid` that signs a token issued now."""
    client = await service.add_client(secret)
    answer = await service.token(grant_type="client_credentials", client_id=client.client_id, client_secret=secret)
    assert 200 == answer.status_code, answer.text
    return kid_of(answer.json()["access_token"])
