"""Every way to revoke a session: revocation, sign-out, the list of sessions. Once the call returns, no token is live."""

import asyncio
import uuid
from datetime import datetime
from typing import Any

import httpx2
import pytest

from authmint_service.accounts import AccountStore
from authmint_service.clients import Client
from tests.actors import OPERATOR
from tests.service.conftest import ISSUER, PASSWORD, Service, StartService
from tests.service.devices import SignedIn, sign_in

pytestmark = pytest.mark.anyio

DEAD = {"active": False}


async def revoke(service: Service, client: Client, token: str, **more: str) -> httpx2.Response:
    return await service.http.post("/revoke", data={"client_id": client.client_id, "token": token} | more)


async def revoke_others(here: SignedIn) -> httpx2.Response:
    proof = {"refresh_token": here.refresh}
    answer = await here.service.http.post("/account/v1/sessions/revoke-others", data=proof, headers=here.bearer)
    here.refresh = answer.json().get("refresh_token", here.refresh)
    return answer


async def introspect(service: Service, client: Client, secret: str, token: str) -> Any:
    answer = await service.http.post("/introspect", data={"token": token}, auth=(client.client_id, secret))
    assert 200 == answer.status_code, answer.text
    assert "no-store" == answer.headers["cache-control"]
    return answer.json()


@pytest.mark.parametrize("which", ["refresh", "access"])
@pytest.mark.parametrize("hint", ["refresh_token", "access_token", "nonsense"])
async def test_revoking_a_token_revokes_its_session_whatever_the_hint_is(service: Service, which: str, hint: str) -> None:
    one = await sign_in(service)
    answer = await revoke(service, one.client, getattr(one, which), token_type_hint=hint)
    assert (200, b"{}", "no-store") == (answer.status_code, answer.content, answer.headers["cache-control"])
    assert await one.is_over()
    assert 200 == (await revoke(service, one.client, getattr(one, which))).status_code


async def test_an_older_generation_of_a_refresh_token_revokes_the_session_too(service: Service) -> None:
    one = await sign_in(service)
    child = (await service.refresh(one.client, one.refresh)).json()["refresh_token"]
    await revoke(service, one.client, one.refresh)
    one.refresh = child
    assert await one.is_over()


@pytest.mark.parametrize("which", ["refresh", "access"])
async def test_another_clients_token_is_200_as_any_other_and_stays_alive(service: Service, which: str) -> None:
    one, other = await sign_in(service), await service.add_client()
    assert 200 == (await revoke(service, other, getattr(one, which))).status_code
    assert 200 == (await service.refresh(one.client, one.refresh)).status_code


@pytest.mark.parametrize("token", ["unknown", "amrt_" + "A" * 76 + "000000", "a.b.c", "\u00e9", "x" * 9000])
async def test_a_token_that_is_none_is_200(service: Service, token: str) -> None:
    client = await service.add_client()
    assert 200 == (await revoke(service, client, token)).status_code


async def test_a_refused_revocation_has_an_error_code(service: Service, secret: str) -> None:
    client = await service.add_client(secret)
    cases = {
        (401, "invalid_client"): {"client_id": client.client_id, "client_secret": "wrong", "token": "x"},
        (400, "invalid_request"): {"client_id": client.client_id, "client_secret": secret},
    }
    for expected, form in cases.items():
        for path in ("/revoke", "/introspect"):
            answer = await service.http.post(path, data=form)
            assert expected == (answer.status_code, answer.json()["error"])
            assert "no-store" == answer.headers["cache-control"]
    assert 401 == (await service.http.post("/introspect", data={"client_id": "nobody", "token": "x"})).status_code


async def test_without_a_database_revocation_is_503_and_never_200(start_service: StartService) -> None:
    service = await start_service()
    one = await sign_in(service)
    broken = await start_service(at="postgresql://nobody@127.0.0.1:1/none")
    answer = await revoke(broken, one.client, one.refresh)
    assert (503, "temporarily_unavailable") == (answer.status_code, answer.json()["error"])
    assert answer.headers["retry-after"]


async def test_introspection_returns_the_claims_of_a_live_token(service: Service, secret: str) -> None:
    one, asking = await sign_in(service), await service.add_client(secret)
    members = await introspect(service, asking, secret, one.access)
    assert {"active": True, "sub": one.user.id, "client_id": one.client.client_id, "iss": ISSUER}.items() <= members.items()
    assert {"scope", "exp", "iat", "aud", "jti", "sid", "token_type"} <= set(members)
    form = {"grant_type": "client_credentials", "client_id": asking.client_id, "client_secret": secret}
    service_token = (await service.token(**form)).json()
    members = await introspect(service, asking, secret, service_token["access_token"])
    assert (True, "service") == (members["active"], members["sub_profile"])


async def test_a_refresh_token_is_active_for_its_own_client_alone(service: Service, secret: str) -> None:
    grants = frozenset({"password", "refresh_token"})
    own, asking = await service.add_client(secret, grants=grants), await service.add_client(secret)
    user = await service.add_account()
    form = {"grant_type": "password", "username": user.username, "password": PASSWORD}
    token = (await service.http.post("/token", data=form, auth=(own.client_id, secret))).json()["refresh_token"]
    assert (await introspect(service, own, secret, token))["active"]
    assert DEAD == await introspect(service, asking, secret, token)


@pytest.mark.own_service
async def test_every_kind_of_dead_token_gets_one_and_the_same_answer(service: Service, secret: str) -> None:
    asking = await service.add_client(secret)
    revoked, expired = await sign_in(service), await sign_in(service)
    await revoke(service, revoked.client, revoked.refresh)
    disabled = await sign_in(service)
    await AccountStore(service.database).disable(disabled.user.id, service.clock(), actor=OPERATOR)
    tokens = ["unknown", "", revoked.access, revoked.refresh, disabled.access, disabled.refresh, expired.access[:-4] + "AAAA"]
    for token in filter(None, tokens):
        assert DEAD == await introspect(service, asking, secret, token)
    service.clock.now += 301
    assert DEAD == await introspect(service, asking, secret, expired.access)


async def test_a_public_client_may_not_introspect(service: Service) -> None:
    one = await sign_in(service)
    answer = await service.http.post("/introspect", data={"client_id": one.client.client_id, "token": one.access})
    assert (401, "invalid_client") == (answer.status_code, answer.json()["error"])


async def test_signing_out_revokes_this_session_and_no_other(service: Service) -> None:
    here = await sign_in(service)
    there = await sign_in(service, here.user, here.client)
    assert [204, 204] == [(await here.ask("DELETE", "/account/v1/sessions/current")).status_code for _ in range(2)]
    assert await here.is_over()
    assert not await there.is_over()


@pytest.mark.own_service
async def test_a_person_sees_their_own_sessions_alone(service: Service) -> None:
    here = await sign_in(service)
    # A hundred seconds before a full hour.
    service.clock.now += (3500 - service.clock.now) % 3600
    there = await sign_in(service, here.user)
    await sign_in(service)
    service.clock.now += 200
    refreshed = await service.refresh(here.client, here.refresh)
    assert 200 == refreshed.status_code
    members = (await there.ask("GET", "/account/v1/sessions")).json()["items"]
    assert [(True, there.client.client_id), (False, here.client.client_id)] == [
        (one["current"], one["client_id"]) for one in members
    ]
    first = members[1]
    assert first["started_at"] < first["last_used_at"] < first["expires_at"]
    # Nothing tells the minute in which a session was refreshed: a thief with a copy of its token would know when to follow.
    assert ["00:00", "00:00"] == [
        datetime.fromisoformat(first[name]).strftime("%M:%S") for name in ("last_used_at", "expires_at")
    ]
    assert 0 == first["repeats_elsewhere"]
    assert "A client" == first["client_name"]


async def test_a_session_revoked_from_another_one_can_list_nothing(service: Service) -> None:
    here = await sign_in(service)
    there = await sign_in(service, here.user)
    ids = {one["current"]: one["id"] for one in (await here.ask("GET", "/account/v1/sessions")).json()["items"]}
    assert 204 == (await here.ask("DELETE", f"/account/v1/sessions/{ids[False]}")).status_code
    assert 404 == (await here.ask("DELETE", f"/account/v1/sessions/{ids[False]}")).status_code
    assert await there.is_over()
    for method, path in (("GET", ""), ("POST", "/revoke-others"), ("DELETE", f"/{ids[True]}")):
        answer = await there.ask(method, f"/account/v1/sessions{path}")
        assert (401, True) == (answer.status_code, 'error="invalid_token"' in answer.headers["www-authenticate"])
    assert not await here.is_over()


async def test_a_person_cannot_revoke_the_session_of_another_account(service: Service) -> None:
    here, other = await sign_in(service), await sign_in(service)
    ((known,)) = (await here.ask("GET", "/account/v1/sessions")).json()["items"]
    assert 404 == (await other.ask("DELETE", f"/account/v1/sessions/{known['id']}")).status_code
    assert 404 == (await other.ask("DELETE", f"/account/v1/sessions/{uuid.uuid4()}")).status_code
    assert 422 == (await other.ask("DELETE", "/account/v1/sessions/x")).status_code
    assert not await here.is_over()


async def test_all_sessions_but_this_one_are_revoked_at_once(service: Service) -> None:
    here = await sign_in(service)
    others = [await sign_in(service, here.user) for _ in range(9)]
    assert 200 == (await revoke_others(here)).status_code
    assert all([await other.is_over() for other in others])
    assert not await here.is_over()


async def test_a_session_has_the_ip_address_of_its_sign_in(service: Service) -> None:
    here = await sign_in(service)
    assert ["127.0.0.1"] == [one["ip_address"] for one in (await here.ask("GET", "/account/v1/sessions")).json()["items"]]


async def test_a_service_has_no_sessions(service: Service, secret: str) -> None:
    client = await service.add_client(secret)
    form = {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": secret}
    headers = {"Authorization": f"Bearer {(await service.token(**form)).json()['access_token']}"}
    for method, path in (("DELETE", "/current"), ("GET", ""), ("POST", "/revoke-others")):
        assert 403 == (await service.http.request(method, f"/account/v1/sessions{path}", headers=headers)).status_code


async def revoke_by(how: str, here: SignedIn, *, elsewhere: SignedIn, parent: str) -> None:
    """Revoke the session of `here` in the way that `how` names."""
    service = here.service
    if how == "logout":
        await here.ask("DELETE", "/account/v1/sessions/current")
    elif how == "revocation":
        await revoke(service, here.client, here.refresh)
    elif how == "everywhere else":
        await revoke_others(elsewhere)
    elif how == "disabling":
        await AccountStore(service.database).disable(here.user.id, service.clock(), actor=OPERATOR)
    else:
        await service.refresh_elsewhere(here.client, parent)


@pytest.mark.parametrize("pairs", [8, pytest.param(40, marks=pytest.mark.long)])
@pytest.mark.parametrize("how", ["logout", "revocation", "everywhere else", "disabling", "reuse"])
async def test_a_refresh_beside_a_revocation_leaves_no_live_token(start_service: StartService, how: str, pairs: int) -> None:
    """Two processes; some pairs of each kind."""
    one = await start_service(refresh_grace_seconds=0)
    other = await start_service(refresh_grace_seconds=0, clock=one.clock)
    for _ in range(pairs):
        here = await sign_in(one)
        elsewhere, parent = await sign_in(one, here.user), here.refresh
        here.refresh = (await one.refresh(here.client, parent)).json()["refresh_token"]
        one.clock.now += 1
        refreshed, _ = await asyncio.gather(
            other.refresh(here.client, here.refresh), revoke_by(how, here, elsewhere=elsewhere, parent=parent)
        )
        for token in (refreshed.json().get("refresh_token", here.refresh), here.refresh):
            here.refresh = token
            assert await here.is_over()
