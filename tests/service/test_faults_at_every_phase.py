"""A fault, a cancellation, a deadline or a disconnect at each phase of a token request, for every grant.

The kind: what is used up by a failure. A request that fails leaves everything as it was: refresh tokens are good, a sign-in
leaves no session and ends none, and the same request succeeds once the fault is over.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from authmint_service.change_feed import ChangeFeed
from authmint_service.clients import Client
from authmint_service.endpoints.account.session_proof import SessionProofs
from authmint_service.endpoints.oauth import token
from authmint_service.endpoints.oauth.client_authentication import ClientAuthentication
from authmint_service.grants import Grant, PasswordGrant, offered_grants
from authmint_service.sessions import RotationStore, SessionStore
from authmint_service.signing_keys import RotatingKeyRing
from authmint_service.tokens import TokenIssuer
from tests.service.conftest import PASSWORD, Service, StartService
from tests.service.devices import sign_in
from tests.service.test_nothing_is_lost_after_a_rotation import (
    LONG_AFTER_THE_GRACE_PERIOD,
    PHASES,
    fails_with,
    no_database,
    still_works,
)

pytestmark = pytest.mark.anyio

OTHER_GRANTS = ["password", "client_credentials"]


async def form_of(service: Service, grant: str, secret: str) -> dict[str, str]:
    """Return a request that succeeds."""
    if grant == "client_credentials":
        robot = await service.add_client(secret)
        return {"grant_type": grant, "client_id": robot.client_id, "client_secret": secret}
    account, client = await service.add_account(), await service.add_client()
    return {"grant_type": grant, "client_id": client.client_id, "username": account.username, "password": PASSWORD}


async def live_sessions(service: Service, client_id: str) -> int:
    statement = "SELECT count(*) FROM authmint.sessions WHERE client_id = $1 AND revoked_at IS NULL"
    return int(await service.database.fetch_value(statement, client_id))


def test_every_grant_is_here() -> None:
    assert {"refresh_token", *OTHER_GRANTS} == set(offered_grants().names)


@pytest.mark.parametrize("grant", OTHER_GRANTS)
@pytest.mark.parametrize("phase", PHASES)
async def test_a_request_that_fails_at_any_phase_leaves_no_session_and_succeeds_afterwards(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch, secret: str, phase: str, grant: str
) -> None:
    service = await start_service()
    form = await form_of(service, grant, secret)
    owner, name, error, status = PHASES[phase]
    if owner is RotationStore:
        owner, name = (SessionStore, "start") if grant == "password" else (ChangeFeed, "epoch")
    failing = fails_with(error())
    with monkeypatch.context() as fault:
        fault.setattr(owner, name, property(failing) if name == "signer" else failing)
        for _ in range(2):
            assert status == (await service.token(**form)).status_code
    assert 0 == await live_sessions(service, form["client_id"])
    assert 200 == (await service.token(**form)).status_code


WAITS: dict[str, tuple[object, str]] = {
    "1 the form arrives slowly": (token, "read_form_by"),
    "2 the client is authenticated": (ClientAuthentication, "authenticate"),
    "8 the token is signed": (TokenIssuer, "issue"),
}


def hold(reached: asyncio.Event) -> Callable[..., Awaitable[Any]]:
    """Return what says that it was reached, and then waits for ever."""

    async def wait(*_: object, **__: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    return wait


async def give_up_at(
    monkeypatch: pytest.MonkeyPatch, place: tuple[object, str], asking: Awaitable[httpx2.Response], *, by_deadline: bool
) -> None:
    """Let a request reach a place where it waits, and end it there."""
    reached = asyncio.Event()
    with monkeypatch.context() as fault:
        fault.setattr(*place, hold(reached))
        deadline = asyncio.timeout(60)

        async def ask() -> None:
            async with deadline:
                await asking

        task = asyncio.create_task(ask())
        async with asyncio.timeout(10):
            await reached.wait()
            if by_deadline:
                deadline.reschedule(asyncio.get_running_loop().time())
            else:
                task.cancel()
            with pytest.raises(TimeoutError if by_deadline else asyncio.CancelledError):
                await task


BOTH_ENDS = pytest.mark.parametrize("by_deadline", [False, True], ids=["cancelled", "deadline"])


@BOTH_ENDS
@pytest.mark.parametrize("place", WAITS)
async def test_a_refresh_that_is_cancelled_at_any_phase_loses_no_refresh_token(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch, place: str, *, by_deadline: bool
) -> None:
    service = await start_service()
    client = await service.add_client(refresh_grace_seconds=0)
    first = (await service.sign_in(client, await service.add_account())).json()["refresh_token"]
    await give_up_at(monkeypatch, WAITS[place], service.refresh(client, first), by_deadline=by_deadline)
    service.clock.now += LONG_AFTER_THE_GRACE_PERIOD
    await still_works(service, client, first)


@BOTH_ENDS
@pytest.mark.parametrize("grant", OTHER_GRANTS)
@pytest.mark.parametrize("place", [*WAITS, "10 what follows is done"])
async def test_another_request_that_is_cancelled_at_any_phase_leaves_no_session(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch, secret: str, place: str, grant: str, *, by_deadline: bool
) -> None:
    service = await start_service()
    form = await form_of(service, grant, secret)
    complete = (PasswordGrant if grant == "password" else Grant, "complete")
    waits = WAITS.get(place, complete)
    await give_up_at(monkeypatch, waits, service.token(**form), by_deadline=by_deadline)
    assert 0 == await live_sessions(service, form["client_id"])
    assert 200 == (await service.token(**form)).status_code


async def test_when_the_database_rotates_and_its_answer_is_late_the_retry_gets_the_same_child(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outcome is not known here, so nothing can be undone. The grace period is for this."""
    service = await start_service()
    client = await service.add_client(refresh_grace_seconds=30)
    first = (await service.sign_in(client, await service.add_account())).json()["refresh_token"]
    rotate = RotationStore.rotate

    async def rotate_and_be_late(*values: Any, **named: Any) -> Any:
        await rotate(*values, **named)
        raise no_database()

    with monkeypatch.context() as fault:
        fault.setattr(RotationStore, "rotate", rotate_and_be_late)
        assert 503 == (await service.refresh(client, first)).status_code
    service.clock.now += 10
    await still_works(service, client, first)


async def refresh_and_disconnect(service: Service, client: Client, first: str, *, in_body: bool) -> None:
    """Send a refresh, and disconnect in its body, or before its response."""
    form = {"grant_type": "refresh_token", "client_id": client.client_id, "refresh_token": first}
    headers = [(b"host", b"auth.example"), (b"content-type", b"application/x-www-form-urlencoded")]
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": "POST",
        "scheme": "https", "path": "/token", "raw_path": b"/token", "query_string": b"", "root_path": "", "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("auth.example", 443),
    }  # fmt: skip
    arriving: list[dict[str, Any]] = [
        {"type": "http.request", "body": urlencode(form).encode(), "more_body": in_body},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return arriving.pop(0)

    async def send(_: Any) -> None:
        raise OSError("the client has gone")

    with pytest.raises(OSError, match="the client has gone"):
        await service.app(scope, receive, send)


@pytest.mark.parametrize("in_body", [False, True], ids=["before its response", "in its body"])
async def test_a_client_that_disconnects_gets_one_child_when_it_asks_again(service: Service, *, in_body: bool) -> None:
    client = await service.add_client(refresh_grace_seconds=30)
    first = (await service.sign_in(client, await service.add_account())).json()["refresh_token"]
    await refresh_and_disconnect(service, client, first, in_body=in_body)
    generation = "SELECT generation FROM authmint.sessions WHERE client_id = $1"
    assert (0 if in_body else 1) == await service.database.fetch_value(generation, client.client_id)
    children = {(await service.refresh(client, first)).json()["refresh_token"] for _ in range(2)}
    assert 1 == len(children)
    assert 200 == (await service.refresh(client, children.pop())).status_code


@pytest.mark.parametrize("broken", [(TokenIssuer, "issue"), (token.TokenEndpoint, "_respond")], ids=["issue", "respond"])
async def test_a_sign_in_that_fails_ends_no_other_session(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch, broken: tuple[object, str]
) -> None:
    """The limit of sessions takes the oldest one away, for a sign-in that succeeds alone."""
    service = await start_service(sessions_per_client=1)
    first = await sign_in(service)
    with monkeypatch.context() as fault:
        fault.setattr(*broken, fails_with(RuntimeError()))
        assert 500 == (await service.sign_in(first.client, first.user)).status_code
    assert not await first.is_over()
    await sign_in(service, first.user, first.client)
    assert await first.is_over()


@pytest.mark.parametrize("path", ["/account/v1/sessions/revoke-others", "/account/v1/password"])
async def test_a_response_that_cannot_be_made_costs_neither_the_refresh_token_nor_another_session(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    service = await start_service()
    here = await sign_in(service)
    there = await sign_in(service, here.user, here.client)
    form = {"current_password": PASSWORD, "new_password": "nine blue herons on a barge", "refresh_token": here.refresh}
    method = "PUT" if path.endswith("password") else "POST"
    with monkeypatch.context() as fault:
        fault.setattr(SessionProofs, "respond", fails_with(RuntimeError()))
        assert 500 == (await service.http.request(method, path, data=form, headers=here.bearer)).status_code
    assert [False, False] == [await one.is_over() for one in (here, there)]
    assert 200 == (await service.sign_in(here.client, here.user)).status_code


async def test_a_key_that_is_away_for_31_seconds_costs_no_refresh_token(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start_service()
    client = await service.add_client()
    first = (await service.sign_in(client, await service.add_account())).json()["refresh_token"]
    with monkeypatch.context() as fault:
        fault.setattr(RotatingKeyRing, "signer", property(fails_with(no_database())))
        assert 503 == (await service.refresh(client, first)).status_code
    with monkeypatch.context() as fault:
        fault.setattr(TokenIssuer, "issue", fails_with(no_database()))
        assert 503 == (await service.refresh(client, first)).status_code
    service.clock.now += 31
    await still_works(service, client, first)
