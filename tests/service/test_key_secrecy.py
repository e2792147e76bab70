"""No private member of any key (d, p, q, dp, dq, qi, k) in any response, log line or dump of the database."""

import asyncio
import base64
import json
import secrets
import sys
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from authmint.jose import SigningKey
from authmint_service.database import Database
from authmint_service.signing_keys.encryption import decrypt
from authmint_service.signing_keys.schedule import ANNOUNCE_SECONDS
from tests.actors import OPERATOR
from tests.service.conftest import Service, StartService, make_settings
from tests.service.signing import empty_store, policy

pytestmark = pytest.mark.anyio

PATHS = (
    "/.well-known/jwks.json", "/.well-known/oauth-authorization-server", "/key-history", "/readyz", "/livez",
    "/revocation-list", "/openapi.json", "/docs", "/account/v1", "/nothing",
)  # fmt: skip


def spellings(pem: bytes) -> Iterator[str]:
    """Yield every form in which a private key might be written by mistake."""
    key = load_pem_private_key(pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    yield from pem.decode().splitlines()[1:-1]
    if isinstance(key, ec.EllipticCurvePrivateKey):
        numbers = [key.private_numbers().private_value]
    else:
        found = key.private_numbers()
        numbers = [found.d, found.p, found.q, found.dmp1, found.dmq1, found.iqmp]
    for number in numbers:
        octets = number.to_bytes((number.bit_length() + 7) // 8, "big")
        yield base64.urlsafe_b64encode(octets).decode().rstrip("=")
        yield base64.b64encode(octets).decode().rstrip("=")
        yield from (octets.hex(), str(number))


async def dump(database: Database) -> str:
    """Every row of every table as text; binary columns in hexadecimal, which is searched for as well."""
    names = await database.fetch_all("SELECT tablename FROM pg_tables WHERE schemaname = 'authmint'")
    texts = []
    for row in names:
        # A name from PostgreSQL's own list; tests may put statements together, the service does not.
        rows = await database.fetch_all(f'SELECT to_jsonb(t)::text AS line FROM authmint."{row["tablename"]}" AS t')
        texts += [line["line"] for line in rows]
    return "\n".join(texts)


async def answers(service: Service, secret: str) -> str:
    client = await service.add_client(secret)
    token = {"grant_type": "client_credentials", "client_id": client.client_id}
    found = [await service.token(**token, client_secret=secret), await service.token(**token, client_secret="wrong")]
    found += [await service.http.get(path) for path in PATHS]
    found.append(await service.internal("/metrics"))
    return "\n".join(f"{answer.headers}\n{answer.text}" for answer in found)


async def test_no_private_member_is_in_any_answer_log_line_or_dump_of_the_database(
    server_dsn: str,
    start_service: StartService,
    secret: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("authmint_service.change_feed.POLL_SECONDS", 0.02)
    async with empty_store(server_dsn) as (dsn, database, store):
        settings = make_settings(dsn)
        service = await start_service(at=dsn)
        await store.announce(SigningKey.generate("RS256", rsa_bits=2048), policy("RS256"), service.clock(), actor=OPERATOR)
        text = await answers(service, secret)
        rows = await database.fetch_all("SELECT * FROM authmint.signing_keys")
        pems = [
            decrypt(
                settings.encryption_keys,
                row["encryption_key_id"],
                row["encrypted_key"],
                kid=row["kid"],
                algorithm=row["algorithm"],
            )
            for row in rows
        ]
        # Damaged rows, and a rotation: the errors are logged without any key.
        await database.execute("UPDATE authmint.signing_keys SET encryption_key_id = 9")
        service.clock.now += ANNOUNCE_SECONDS + 1
        text += await answers_without_a_key(service)
        dumped = await dump(database)
        # Otherwise the dump shows nothing, whatever is stored.
        assert all(row["kid"] in dumped and row["encrypted_key"].hex() in dumped for row in rows)
        text += dumped
    captured = capfd.readouterr()
    text += captured.out + captured.err
    searched = [spelling for pem in pems for spelling in spellings(pem)]
    assert (2, True) == (len(pems), len(searched) > 30)
    assert "signing_key.unusable" in text
    for kid in [row["kid"] for row in rows]:
        assert kid in text
    for spelling in searched:
        assert spelling not in text, "a private member was shown"
    with capfd.disabled():
        sys.stdout.write(json.dumps({"spellings": len(searched), "characters_searched": len(text)}) + "\n")


async def answers_without_a_key(service: Service) -> str:
    async with asyncio.timeout(10):
        while 200 == (await service.http.get("/readyz")).status_code:
            await asyncio.sleep(0.02)
    refused = [await service.http.get("/readyz"), await service.token(grant_type="client_credentials")]
    assert {503} == {answer.status_code for answer in refused}
    return "\n".join(answer.text for answer in refused)


async def test_the_shared_secret_of_hs256_is_shown_nowhere(
    server_dsn: str, start_service: StartService, secret: str, capfd: pytest.CaptureFixture[str]
) -> None:
    shared = secrets.token_urlsafe(32)
    async with empty_store(server_dsn) as (dsn, database, _):
        service = await start_service(at=dsn, signing_algorithm="HS256", shared_secret=shared)
        text = await answers(service, secret) + await dump(database)
    captured = capfd.readouterr()
    encoded = base64.urlsafe_b64encode(shared.encode()).decode().rstrip("=")
    for spelling in (shared, encoded, shared.encode().hex()):
        assert spelling not in text + captured.out + captured.err
