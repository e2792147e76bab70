"""Administrators are services with a scope of their own. They see and revoke sessions of any account; no person can."""

import uuid

import pytest

from tests.service.conftest import ISSUER, Service
from tests.service.devices import SignedIn, sign_in
from tests.service.test_revocation_list import session_of

pytestmark = pytest.mark.anyio

ADMIN = "admin:sessions:read admin:sessions:write"


async def administrator(service: Service, secret: str, scope: str = ADMIN) -> dict[str, str]:
    """The header of a service that may."""
    client = await service.add_client(secret, scopes=frozenset(scope.split()), resources=(ISSUER,), default_resources=(ISSUER,))
    form = {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": secret}
    return {"Authorization": f"Bearer {(await service.token(**form)).json()['access_token']}"}


async def two_sessions(service: Service) -> tuple[SignedIn, SignedIn]:
    one = await sign_in(service)
    return one, await sign_in(service, user=one.user)


async def test_an_administrator_sees_the_sessions_of_an_account(service: Service, secret: str) -> None:
    one, other = await two_sessions(service)
    headers = await administrator(service, secret)
    answer = await service.http.get(f"/admin/v1/accounts/{one.user.id}/sessions", headers=headers)
    assert {session_of(one.access), session_of(other.access)} == {session["id"] for session in answer.json()["items"]}
    assert {"127.0.0.1"} == {session["ip_address"] for session in answer.json()["items"]}
    of_none = (await service.http.get(f"/admin/v1/accounts/{uuid.uuid4()}/sessions", headers=headers)).json()
    assert {"items": [], "next_cursor": None} == of_none


async def test_an_administrator_revokes_one_session_of_an_account_and_the_other_stays(service: Service, secret: str) -> None:
    one, other = await two_sessions(service)
    headers = await administrator(service, secret)
    path = f"/admin/v1/accounts/{one.user.id}/sessions/{session_of(one.access)}"
    assert [204, 404] == [(await service.http.delete(path, headers=headers)).status_code for _ in range(2)]
    assert [True, False] == [await one.is_over(), await other.is_over()]


async def test_an_administrator_revokes_all_sessions_of_one_account_alone(service: Service, secret: str) -> None:
    one, other = await two_sessions(service)
    third = await sign_in(service)
    headers = await administrator(service, secret)
    assert 204 == (await service.http.delete(f"/admin/v1/accounts/{one.user.id}/sessions", headers=headers)).status_code
    assert [True, True, False] == [await session.is_over() for session in (one, other, third)]


async def test_other_callers_are_refused(service: Service, secret: str) -> None:
    """Neither a service without the scope, nor a person whose application has it."""
    client = await service.add_client(scopes=frozenset(ADMIN.split()))
    one = await sign_in(service, client=client)
    others = await administrator(service, secret, "orders:read")
    for headers, status in ((others, 403), (one.bearer, 403), ({}, 401)):
        for method, path in (("GET", ""), ("DELETE", ""), ("DELETE", f"/{session_of(one.access)}")):
            answer = await service.http.request(method, f"/admin/v1/accounts/{one.user.id}/sessions{path}", headers=headers)
            assert status == answer.status_code
    assert not await one.is_over()
