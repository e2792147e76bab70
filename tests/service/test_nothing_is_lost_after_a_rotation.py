"""A fault at each phase of a token request. After it the client's refresh token works, or its retry gets the same child.

Each case is run with the usual grace period and with none, where a lost rotation would sign the person out.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from authmint.errors import TemporarilyUnavailable
from authmint_service.change_feed import ChangeKind
from authmint_service.clients import Client
from authmint_service.endpoints.oauth import token
from authmint_service.endpoints.oauth.client_authentication import ClientAuthentication
from authmint_service.endpoints.oauth.refresh_cookie import RefreshCookies
from authmint_service.errors import DatabaseUnavailable
from authmint_service.grants import Grant, RefreshTokenGrant, offered_grants
from authmint_service.sessions import RotationStore
from authmint_service.signing_keys import RotatingKeyRing
from authmint_service.tokens import TokenIssuer, TokenResponse
from tests.service.browser import signed_in
from tests.service.conftest import Service, StartService

pytestmark = pytest.mark.anyio

LONG_AFTER_THE_GRACE_PERIOD = 3600


def fails_with(error: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


def unavailable() -> Exception:
    return TemporarilyUnavailable("The key cannot be reached.")


def no_database() -> Exception:
    return DatabaseUnavailable("a fault")


PHASES: dict[str, tuple[object, str, Callable[[], Exception], int]] = {
    "0 no key": (RotatingKeyRing, "signer", unavailable, 503),
    "1 parsing fails": (token, "read_form_by", RuntimeError, 500),
    "2 authentication of the client fails": (ClientAuthentication, "authenticate", RuntimeError, 500),
    "5 the policy fails": (token, "_apply_client_policy", RuntimeError, 500),
    "6 the statement fails": (RotationStore, "rotate", RuntimeError, 500),
    "7 the client cannot be read again": (ClientAuthentication, "is_current", no_database, 503),
    "7 the restriction fails": (token.TokenEndpoint, "_restrict", RuntimeError, 500),
    "8 the issuer fails": (TokenIssuer, "issue", RuntimeError, 500),
    "8 the signer is not available": (TokenIssuer, "issue", unavailable, 503),
    "9 the response fails": (TokenResponse, "to_json", RuntimeError, 500),
}


async def add_client(service: Service, grace: int) -> Client:
    return await service.add_client(refresh_grace_seconds=grace, default_resources=("orders",))


@pytest.mark.parametrize("grace", [0, 30])
@pytest.mark.parametrize("phase", PHASES)
async def test_a_fault_at_any_phase_loses_no_refresh_token(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch, phase: str, grace: int
) -> None:
    service = await start_service()
    client = await add_client(service, grace)
    first = (await service.sign_in(client, await service.add_account())).json()["refresh_token"]
    owner, name, error, status = PHASES[phase]
    failing = fails_with(error())
    with monkeypatch.context() as fault:
        fault.setattr(owner, name, property(failing) if name == "signer" else failing)
        for _ in range(2):
            assert status == (await service.refresh(client, first)).status_code
    service.clock.now += LONG_AFTER_THE_GRACE_PERIOD
    await still_works(service, client, first)


async def test_the_key_may_go_between_the_rotation_and_the_signature(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start_service()
    client = await add_client(service, 0)
    first = (await service.sign_in(client, await service.add_account())).json()["refresh_token"]
    rotate = RotationStore.rotate

    with monkeypatch.context() as fault:

        async def rotate_and_lose_the_key(*values: Any, **named: Any) -> Any:
            rotated = await rotate(*values, **named)
            fault.setattr(RotatingKeyRing, "signer", property(fails_with(unavailable())))
            return rotated

        fault.setattr(RotationStore, "rotate", rotate_and_lose_the_key)
        assert 503 == (await service.refresh(client, first)).status_code
    service.clock.now += LONG_AFTER_THE_GRACE_PERIOD
    await still_works(service, client, first)


async def still_works(service: Service, client: Client, refresh_token: str) -> None:
    """Check that a token is redeemed, that its child is too, and that it then revokes the session as every reused one does.

    It is no late repeat, of which there may be a few and none from elsewhere: the rotation was undone, or there was none.
    """
    answer = await service.refresh(client, refresh_token)
    assert 200 == answer.status_code, answer.text
    late = "SELECT sum(late_repeats) FROM authmint.sessions WHERE client_id = $1"
    assert 0 == await service.database.fetch_value(late, client.client_id)
    child = answer.json()["refresh_token"]
    grandchild = (await service.refresh(client, child)).json()["refresh_token"]
    service.clock.now += 31
    assert 400 == (await service.refresh(client, refresh_token)).status_code
    assert 400 == (await service.refresh(client, grandchild)).status_code


@pytest.mark.parametrize("grace", [0, 30])
@pytest.mark.parametrize("uses_parent", [False, True])
async def test_a_child_that_a_repeated_request_received_outlives_the_fault_of_the_first_request(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch, grace: int, *, uses_parent: bool
) -> None:
    service = await start_service()
    client = await add_client(service, grace)
    first = (await service.sign_in(client, await service.add_account())).json()["refresh_token"]
    issue, asked, children = TokenIssuer.issue, 0, []

    async def fail_the_first(self: TokenIssuer, *values: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == 1:
            # The client has given up, and asks again while the first request still waits for the signature.
            children.append((await service.refresh(client, first)).json()["refresh_token"])
            raise unavailable()
        return await issue(self, *values)

    monkeypatch.setattr(TokenIssuer, "issue", fail_the_first)
    assert 503 == (await service.refresh(client, first)).status_code
    # Either of the two is good, and the parent brings the same child.
    if uses_parent:
        assert children[0] == (await service.refresh(client, first)).json()["refresh_token"]
    assert 200 == (await service.refresh(client, children[0])).status_code


async def test_after_a_fault_the_parent_from_elsewhere_brings_the_same_child_and_is_counted(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start_service()
    client, account = await add_client(service, 0), await service.add_account()
    first = (await service.sign_in(client, account)).json()["refresh_token"]
    with monkeypatch.context() as fault:
        fault.setattr(TokenIssuer, "issue", fails_with(unavailable()))
        assert 503 == (await service.refresh(client, first)).status_code
    service.clock.now += LONG_AFTER_THE_GRACE_PERIOD
    answers = [await service.refresh_elsewhere(client, first), await service.refresh(client, first)]
    assert [200, 200] == [answer.status_code for answer in answers]
    assert 1 == len({answer.json()["refresh_token"] for answer in answers})
    counted = "SELECT repeats FROM authmint.sessions WHERE account_id = $1"
    assert 1 == await service.database.fetch_value(counted, account.id)


async def test_when_even_the_undoing_fails_the_retry_within_the_grace_period_gets_the_same_child(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start_service()
    client = await add_client(service, 30)
    first = (await service.sign_in(client, await service.add_account())).json()["refresh_token"]
    with monkeypatch.context() as fault:
        fault.setattr(TokenIssuer, "issue", fails_with(unavailable()))
        fault.setattr(RefreshTokenGrant, "undo", fails_with(RuntimeError()))
        assert 503 == (await service.refresh(client, first)).status_code
    await still_works(service, client, first)


async def test_a_response_that_is_lost_on_its_way_is_repeated_within_the_grace_period(service: Service) -> None:
    client = await add_client(service, 30)
    first = (await service.sign_in(client, await service.add_account())).json()["refresh_token"]
    lost, retried = await service.refresh(client, first), await service.refresh(client, first)
    assert lost.json()["refresh_token"] == retried.json()["refresh_token"]


async def test_a_cookie_that_cannot_be_set_loses_no_refresh_token(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start_service()
    page = await signed_in(service, await service.add_account())
    with monkeypatch.context() as fault:
        fault.setattr(RefreshCookies, "set", fails_with(RuntimeError()))
        assert 500 == (await page.refresh()).status_code
    service.clock.now += LONG_AFTER_THE_GRACE_PERIOD
    assert 200 == (await page.refresh()).status_code


async def rotations(service: Service, client: Client) -> list[tuple[int, datetime]]:
    statement = "SELECT generation, rotated_at FROM authmint.sessions WHERE client_id = $1"
    return [(row["generation"], row["rotated_at"]) for row in await service.database.fetch_all(statement, client.client_id)]


DISABLE = "UPDATE authmint.clients SET enabled = false WHERE client_id = $1"
ENABLE = "UPDATE authmint.clients SET enabled = true WHERE client_id = $1"
OTHER_SCOPES = "UPDATE authmint.clients SET scopes = '{other}' WHERE client_id = $1"
OTHER_RESOURCES = "UPDATE authmint.clients SET resources = '{other}', default_resources = '{other}' WHERE client_id = $1"
BEFORE = """
    UPDATE authmint.clients SET scopes = '{orders:read,orders:write}', resources = '{orders,https://auth.example}',
                                default_resources = '{orders}' WHERE client_id = $1
"""


@pytest.mark.parametrize(
    ("change", "back", "status", "error"),
    [
        (DISABLE, ENABLE, 401, "invalid_client"),
        (OTHER_SCOPES, BEFORE, 400, "invalid_scope"),
        (OTHER_RESOURCES, BEFORE, 400, "invalid_target"),
    ],
    ids=["disabled", "scopes", "resources"],
)
@pytest.mark.parametrize("is_cached", [False, True], ids=["seen at once", "seen by the statement alone"])
@pytest.mark.parametrize("grace", [0, 30])
async def test_a_client_that_may_no_longer_have_what_its_session_holds_is_refused_before_the_rotation(
    start_service: StartService, change: str, back: str, status: int, error: str, grace: int, is_cached: bool
) -> None:
    """What was taken away is given back 31 seconds later."""
    service = await start_service()
    client = await add_client(service, grace)
    first = (await service.sign_in(client, await service.add_account())).json()["refresh_token"]
    ((_, rotated_at),) = await rotations(service, client)
    await service.database.execute(change, client.client_id)
    if not is_cached:
        await service.change(ChangeKind.CLIENT, client.client_id, "SELECT 1")
        refused = await service.refresh(client, first)
        assert (status, error) == (refused.status_code, refused.json()["error"])
        assert [(0, rotated_at)] == await rotations(service, client)
    elif change is DISABLE:
        assert 400 == (await service.refresh(client, first)).status_code
    service.clock.now += 31
    await service.change(ChangeKind.CLIENT, client.client_id, back, client.client_id)
    await still_works(service, client, first)


async def test_a_sign_in_without_a_response_leaves_no_session(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start_service()
    client, user = await service.add_client(), await service.add_account()
    with monkeypatch.context() as fault:
        fault.setattr(TokenIssuer, "issue", fails_with(unavailable()))
        assert 503 == (await service.sign_in(client, user)).status_code
    token_of = (await service.sign_in(client, user)).json()["access_token"]
    listed = await service.http.get("/account/v1/sessions", headers={"Authorization": f"Bearer {token_of}"})
    assert [True] == [session["current"] for session in listed.json()["items"]]


def test_a_grant_that_changes_something_says_how_it_is_undone() -> None:
    undone = {grant.name for grant in offered_grants() if grant.undo is not Grant.undo}
    assert {"password", "refresh_token"} == undone
