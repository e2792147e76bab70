"""Refresh tokens: each is redeemed once, a retry gets the same child, a reused one revokes the session."""

import asyncio
import base64
import random
import re
from urllib.parse import quote_plus

import asyncpg
import httpx2
import pytest

from authmint_service.change_feed import ChangeKind
from authmint_service.clients import Client
from authmint_service.database import Database
from authmint_service.secret_keys import SecretKeys
from authmint_service.sessions import RefreshTokenCodec, RotationStore
from tests.actors import OPERATOR
from tests.service.conftest import Clock, Service, StartService

pytestmark = pytest.mark.anyio


async def signed_in(service: Service, **client: object) -> tuple[Client, str]:
    application = await service.add_client(**client)  # type: ignore[arg-type]  # fields of Client
    answer = await service.sign_in(application, await service.add_account())
    return application, answer.json()["refresh_token"]


async def rotated(service: Service, client: Client, token: str) -> str:
    answer = await service.refresh(client, token)
    assert 200 == answer.status_code
    child: str = answer.json()["refresh_token"]
    return child


def error_of(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("error", "")


REFUSED = (400, "invalid_grant")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def test_of_many_concurrent_uses_one_rotates_and_all_get_the_same_child(service: Service) -> None:
    client, token = await signed_in(service)
    answers = await asyncio.gather(*(service.refresh(client, token) for _ in range(50)))
    assert {200} == {answer.status_code for answer in answers}
    children = {answer.json()["refresh_token"] for answer in answers}
    assert 1 == len(children)
    assert 200 == (await service.refresh(client, children.pop())).status_code


async def test_two_processes_with_one_database_agree_on_the_child(start_service: StartService) -> None:
    clock = Clock()
    one, other = await start_service(clock=clock), await start_service(clock=clock)
    client, token = await signed_in(one)
    answers = await asyncio.gather(*((one, other)[number % 2].refresh(client, token) for number in range(20)))
    assert {200} == {answer.status_code for answer in answers}
    assert 1 == len({answer.json()["refresh_token"] for answer in answers})


async def test_a_grandparent_revokes_the_session_even_within_the_grace_period(service: Service) -> None:
    client, first = await signed_in(service)
    second = await rotated(service, client, first)
    third = await rotated(service, client, second)
    assert REFUSED == error_of(await service.refresh(client, first))
    for token in (third, second):
        assert REFUSED == error_of(await service.refresh(client, token))


@pytest.mark.own_service
async def test_a_parent_after_the_grace_period_from_elsewhere_revokes_the_session(service: Service) -> None:
    client, first = await signed_in(service)
    second = await rotated(service, client, first)
    service.clock.now += 30
    assert 200 == (await service.refresh_elsewhere(client, first)).status_code
    service.clock.now += 0.5
    assert REFUSED == error_of(await service.refresh_elsewhere(client, first))
    assert REFUSED == error_of(await service.refresh(client, second))


async def test_without_a_grace_period_the_parent_from_elsewhere_revokes_the_session_at_once(
    start_service: StartService,
) -> None:
    service = await start_service(refresh_grace_seconds=0)
    client, first = await signed_in(service)
    second = await rotated(service, client, first)
    service.clock.now += 0.001
    assert REFUSED == error_of(await service.refresh_elsewhere(client, first))
    assert REFUSED == error_of(await service.refresh(client, second))


@pytest.mark.own_service
async def test_a_retry_does_not_lengthen_the_grace_period(service: Service) -> None:
    client, first = await signed_in(service)
    await rotated(service, client, first)
    for _ in range(3):
        service.clock.now += 10
        assert 200 == (await service.refresh(client, first)).status_code
    service.clock.now += 1
    assert REFUSED == error_of(await service.refresh_elsewhere(client, first))


async def test_reuse_is_recognised_after_a_restart_and_when_the_clock_steps_back(start_service: StartService) -> None:
    service = await start_service()
    client, first = await signed_in(service)
    second = await rotated(service, client, await rotated(service, client, first))
    restarted = await start_service(clock=Clock(service.clock.now - 60))
    assert REFUSED == error_of(await restarted.refresh(client, first))
    assert REFUSED == error_of(await restarted.refresh(client, second))


async def test_another_clients_token_is_refused_and_its_session_stays(service: Service) -> None:
    client, token = await signed_in(service)
    other = await service.add_client()
    assert REFUSED == error_of(await service.refresh(other, token))
    child = await rotated(service, client, token)
    grandchild = await rotated(service, client, child)
    assert REFUSED == error_of(await service.refresh(other, token))
    assert 200 == (await service.refresh(client, grandchild)).status_code


async def test_the_absolute_expiry_does_not_move_however_often_a_session_is_refreshed(start_service: StartService) -> None:
    service = await start_service(session_ttl=1000, session_idle_ttl=400)
    client, token = await signed_in(service)
    for _ in range(50):
        service.clock.now += 19.9
        token = await rotated(service, client, token)
    service.clock.now += 5.1
    assert REFUSED == error_of(await service.refresh(client, token))


async def test_a_session_that_is_idle_for_too_long_has_expired(start_service: StartService) -> None:
    service = await start_service(session_ttl=10_000, session_idle_ttl=400)
    client, token = await signed_in(service)
    service.clock.now += 399
    token = await rotated(service, client, token)
    service.clock.now += 400
    assert REFUSED == error_of(await service.refresh(client, token))


async def test_a_refresh_may_narrow_the_scope_for_one_token_and_never_widens_it(service: Service) -> None:
    user, client = await service.add_account(), await service.add_client()
    tokens = (await service.sign_in(client, user, scope="orders:read", resource="orders")).json()
    refused = await service.refresh(client, tokens["refresh_token"], scope="orders:read orders:write")
    assert (400, "invalid_scope") == error_of(refused)
    refused = await service.refresh(client, tokens["refresh_token"], resource="billing")
    assert (400, "invalid_target") == error_of(refused)
    answer = await service.refresh(client, tokens["refresh_token"], scope="orders:read", resource="orders")
    assert (200, "orders:read") == (answer.status_code, answer.json()["scope"])


async def test_a_narrowed_refresh_leaves_the_session_as_wide_as_it_was(service: Service) -> None:
    client, token = await signed_in(service)
    narrow = (await service.refresh(client, token, scope="orders:read")).json()
    wide = (await service.refresh(client, narrow["refresh_token"])).json()
    assert ("orders:read", "orders:read orders:write") == (narrow["scope"], wide["scope"])


@pytest.mark.own_service
async def test_a_scope_taken_from_the_client_is_gone_at_the_next_refresh(service: Service) -> None:
    client, token = await signed_in(service)
    statement = "UPDATE authmint.clients SET scopes = '{orders:read}' WHERE client_id = $1"
    await service.change(ChangeKind.CLIENT, client.client_id, statement, client.client_id)
    assert "orders:read" == (await service.refresh(client, token)).json()["scope"]


@pytest.mark.parametrize("what", ["user", "client", "deleted"])
async def test_disabling_or_deleting_between_sign_in_and_refresh_ends_it(service: Service, what: str) -> None:
    user, client = await service.add_account(), await service.add_client()
    token = (await service.sign_in(client, user)).json()["refresh_token"]
    statements = {
        "user": ("UPDATE authmint.accounts SET state = 'disabled' WHERE id = $1", user.id),
        "client": ("UPDATE authmint.clients SET enabled = false WHERE client_id = $1", client.client_id),
        "deleted": ("DELETE FROM authmint.accounts WHERE id = $1", user.id),
    }
    await service.database.execute(*statements[what])
    assert REFUSED == error_of(await service.refresh(client, token))


async def test_disabling_an_account_leaves_no_live_session_once_the_call_returns(service: Service) -> None:
    from authmint_service.accounts import AccountStore

    user, client = await service.add_account(), await service.add_client()
    tokens = [(await service.sign_in(client, user)).json()["refresh_token"] for _ in range(4)]
    racing = [asyncio.create_task(service.refresh(client, token)) for token in tokens]
    racing += [asyncio.create_task(service.sign_in(client, user)) for _ in range(4)]
    await AccountStore(service.database).disable(user.id, service.clock(), actor=OPERATOR)
    live = "SELECT count(*) FROM authmint.sessions WHERE account_id = $1 AND revoked_at IS NULL"
    assert 0 == await service.database.fetch_value(live, user.id)
    await asyncio.gather(*racing)
    assert 0 == await service.database.fetch_value(live, user.id)


async def test_any_text_as_a_refresh_token_is_an_invalid_grant_and_the_database_is_not_asked(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start_service()
    client, token = await signed_in(service)
    assert 200 == (await service.refresh(client, token)).status_code
    body = token.removeprefix("amrt_")[:-6]
    content = bytearray(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    forged = RefreshTokenCodec(SecretKeys({1: bytes(range(32))}))
    later = bytes([*content[:24], content[24] + 1, *content[25:]])
    texts = [
        "amrt_", token[:-1], token + "x", token.upper(), token.replace("amrt_", "amcs_"), "é" * 86, token[:-1] + "\n", "\0",
        forged.encode(forged.create()), "amrt_" + base64.urlsafe_b64encode(later).decode().rstrip("=") + token[-6:],
        "a" * 20_000,
        token + "\0", "a" * 1_000_000, "\0" * 300_000, " ", "null", "'; DROP TABLE authmint.sessions; --", "\u2028\U0001f600",
    ]  # fmt: skip
    quoted = [quote_plus(text).encode() for text in texts]
    # Surrogates, a byte that is no UTF-8, and bytes and percent signs as no form would have them.
    quoted += [
        b"%ED%A0%80",
        b"\xed\xa0\x80",
        b"%ff",
        b"\xff\xfe",
        b"%",
        b"%zz",
        b"=",
        b"%C0%80",
        random.Random(7).randbytes(5000),
    ]
    asked = 0
    fetch_row = Database.fetch_row

    async def counted(self: Database, statement: str, *values: object) -> asyncpg.Record | None:
        nonlocal asked
        asked += 1
        return await fetch_row(self, statement, *values)

    monkeypatch.setattr(Database, "fetch_row", counted)
    for value in quoted:
        token_field = b"refresh_token=" + value.replace(b"&", b"%26")
        form = b"&".join([b"grant_type=refresh_token", token_field, b"client_id=" + client.client_id.encode()])
        answer = await service.http.post("/token", content=form, headers=FORM)
        assert REFUSED == error_of(answer), value[:50]
    assert 0 == asked
    # The counter works: this token has a valid MAC.
    assert 200 == (await service.refresh(client, token)).status_code
    assert 2 == asked


async def test_no_refresh_token_at_all_is_an_invalid_request(service: Service) -> None:
    client, _ = await signed_in(service)
    assert (400, "invalid_request") == error_of(await service.refresh(client, ""))


async def test_a_refresh_token_has_a_form_that_secret_scanners_can_recognise(service: Service) -> None:
    _, token = await signed_in(service)
    assert re.fullmatch(r"amrt_[A-Za-z0-9_-]{76}[0-9A-Za-z]{6}", token)


async def test_a_dump_of_the_database_holds_no_usable_token_secret_or_password(service: Service, secret: str) -> None:
    from tests.service.conftest import PASSWORD

    client, token = await signed_in(service)
    robot = await service.add_client(secret)
    service_token = await service.token(grant_type="client_credentials", client_id=robot.client_id, client_secret=secret)
    rows = []
    for table in ("accounts", "account_names", "passwords", "clients", "client_secrets", "sessions", "signing_keys"):
        rows += [str(dict(row)) for row in await service.database.fetch_all(f"SELECT * FROM authmint.{table}")]
        rows += [row[0] for row in await service.database.fetch_all(f"SELECT t::text FROM authmint.{table} AS t")]
    dump = "\n".join(rows)
    mac_part = token[40:80]
    for usable in (token, mac_part, secret, PASSWORD, service_token.json()["access_token"], "PRIVATE KEY"):
        assert usable not in dump


async def test_refresh_tokens_are_all_different() -> None:
    codec = RefreshTokenCodec(SecretKeys({1: bytes(range(32))}))
    assert 10_000 == len({codec.encode(codec.create()) for _ in range(10_000)})


async def test_a_refresh_changes_no_column_that_an_index_has(service: Service) -> None:
    # Then PostgreSQL keeps the new version of the row in the same page and writes no index (heap-only tuples).
    statements = RotationStore.ROTATE, RotationStore._EXTEND, RotationStore._RESTORE_PARENT
    changed = {name for one in statements for name in re.findall(r"(\w+) = ", re.split("FROM|WHERE", one, maxsplit=1)[0])}
    assert changed >= {"generation", "rotated_at", "rotation_source", "idle_expires_at", "tokens_until"}
    indexed = """
        SELECT array_agg(DISTINCT attname::text)
          FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum > 0
         WHERE indrelid = 'authmint.sessions'::regclass
           AND (attnum = ANY(indkey) OR pg_get_expr(indpred, indrelid) ~ ('\\m' || attname || '\\M'))
    """
    columns = set(await service.database.fetch_value(indexed))
    assert columns >= {"handle", "account_id", "revoked_at"}
    assert set() == changed & columns
