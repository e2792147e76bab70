"""What the schema itself guarantees, whatever a program writes."""

import secrets
import uuid

import asyncpg
import pytest

from authmint_service.clients import ClientStore, new_client_secret, secret_hash
from authmint_service.sessions import EndCause
from tests.actors import OPERATOR
from tests.service.conftest import Service
from tests.service.devices import SignedIn, sign_in

pytestmark = pytest.mark.anyio

ADD_SECRET = """
    INSERT INTO authmint.client_secrets (client_id, hash, created_at, expires_at)
    VALUES ($1, $2, now(), now() + $3 * interval '1 second')
"""


async def test_a_client_has_two_live_secrets_at_most(service: Service, secret: str) -> None:
    client, database = await service.add_client(secret), service.database
    second, third = (secret_hash(new_client_secret()) for _ in range(2))
    await database.execute(ADD_SECRET, client.client_id, second, 3600.0)
    with pytest.raises(asyncpg.CheckViolationError):
        await database.execute(ADD_SECRET, client.client_id, third, 3600.0)
    await database.execute(ADD_SECRET, client.client_id, third, -1.0)
    found = (await ClientStore(database).load(client.client_id)).client
    assert found is not None
    assert {secret_hash(secret), second} == set(found.secret_hashes)
    with pytest.raises(asyncpg.CheckViolationError):
        await database.execute("UPDATE authmint.client_secrets SET expires_at = NULL WHERE hash = $1", third)
    # Once one has expired, another may be added.
    await database.execute("UPDATE authmint.client_secrets SET expires_at = now() WHERE hash = $1", second)
    await database.execute("UPDATE authmint.client_secrets SET expires_at = NULL WHERE hash = $1", third)
    found = (await ClientStore(database).load(client.client_id)).client
    assert found is not None
    assert found.find_secret([secret])
    assert {secret_hash(secret), third} == set(found.secret_hashes)


async def test_a_public_client_has_no_secret(service: Service) -> None:
    client = await service.add_client()
    with pytest.raises(asyncpg.CheckViolationError):
        await service.database.execute(ADD_SECRET, client.client_id, secret_hash(new_client_secret()), 3600.0)
    found = (await ClientStore(service.database).load(client.client_id)).client
    assert found is not None
    assert () == found.secret_hashes


async def test_two_keys_of_one_algorithm_cannot_be_open_at_once(service: Service) -> None:
    statement = """
        INSERT INTO authmint.signing_keys (kid, algorithm, encryption_key_id, published_at, active_from)
        VALUES ($1, $2, 1, now(), now())
    """
    algorithm = f"test-{secrets.token_hex(4)}"
    await service.database.execute(statement, f"{algorithm}-1", algorithm)
    with pytest.raises(asyncpg.UniqueViolationError):
        await service.database.execute(statement, f"{algorithm}-2", algorithm)
    await service.database.execute("DELETE FROM authmint.signing_keys WHERE algorithm = $1", algorithm)


async def test_an_event_is_verified_by_its_digest_after_its_personal_part_was_erased(service: Service) -> None:
    database = service.database
    insert = """
        INSERT INTO authmint.events (kind, actor_kind, subject, personal, salt, personal_digest, occurred_at)
        VALUES ('sign_in.succeeded', 'account', $1, $2::text::json, $3, sha256($3 || convert_to($2::text, 'UTF8')), now())
        RETURNING id
    """
    personal, salt = '{"ip_address":  "192.0.2.7"}', secrets.token_bytes(16)
    event = await database.fetch_value(insert, uuid.uuid4(), personal, salt)
    digest = "sha256(salt || convert_to(personal::text, 'UTF8'))"
    assert await database.fetch_value(f"SELECT personal_digest = {digest} FROM authmint.events WHERE id = $1", event)
    with pytest.raises(asyncpg.CheckViolationError):
        await database.execute("UPDATE authmint.events SET salt = NULL WHERE id = $1", event)
    await database.execute("UPDATE authmint.events SET salt = NULL, personal = NULL WHERE id = $1", event)
    assert 32 == len(await database.fetch_value("SELECT personal_digest FROM authmint.events WHERE id = $1", event))
    await database.execute("DELETE FROM authmint.events WHERE id = $1", event)


async def test_a_table_of_one_row_has_it_and_takes_no_other(service: Service) -> None:
    assert 1 == await service.database.fetch_value("SELECT count(*) FROM authmint.turn")
    for value in ("true", "false"):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await service.database.execute(f"INSERT INTO authmint.turn (only_row) VALUES ({value})")


async def end_cause(one: SignedIn) -> str:
    statement = "SELECT end_cause FROM authmint.sessions WHERE account_id = $1 AND revoked_at IS NOT NULL"
    causes = await one.service.database.fetch_all(statement, one.user.id)
    assert 1 == len(causes)
    return str(causes[0]["end_cause"])


async def test_a_revoked_session_has_the_cause_of_its_end(service: Service) -> None:
    signed_out, reused = await sign_in(service), await sign_in(service)
    form = {"client_id": signed_out.client.client_id, "token": signed_out.refresh}
    assert 200 == (await service.http.post("/revoke", data=form)).status_code
    assert EndCause.SIGNED_OUT == await end_cause(signed_out)

    child = (await service.refresh(reused.client, reused.refresh)).json()["refresh_token"]
    assert 200 == (await service.refresh(reused.client, child)).status_code
    assert 400 == (await service.refresh(reused.client, reused.refresh)).status_code
    assert EndCause.REUSED == await end_cause(reused)

    disabled = await sign_in(service)
    assert await ClientStore(service.database).disable(disabled.client.client_id, service.clock(), actor=OPERATOR)
    assert "client_disabled" == await end_cause(disabled)
