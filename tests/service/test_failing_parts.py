"""Any part of the service fails unexpectedly: the response is a 500 without details, and never a success (fail closed)."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import httpx2
import pytest
from passlib.hash import argon2

from authmint.token_verifier import TokenVerifier
from authmint_service.accounts import AccountStore
from authmint_service.authentication import PasswordAuthenticator
from authmint_service.clients import ClientCache, ClientStore
from authmint_service.database import Database
from authmint_service.endpoints.oauth.client_authentication import ClientAuthentication
from authmint_service.endpoints.oauth.refresh_cookie import RefreshCookies
from authmint_service.grants.registry import GRANTS
from authmint_service.passwords import PasswordChange, PasswordHasher, PasswordPolicy, PasswordStore
from authmint_service.readiness import Readiness
from authmint_service.revocations import RevocationStore
from authmint_service.sessions import RefreshTokenCodec, RotationStore, Sessions, SessionStore
from authmint_service.signing_keys import RotatingKeyRing
from authmint_service.tokens import AccessTokenReader, RevocationListPublisher, TokenIssuer
from tests.service.browser import signed_in
from tests.service.conftest import PASSWORD, Service, StartService

pytestmark = pytest.mark.anyio

PARTS = (
    *GRANTS,
    ClientAuthentication, ClientCache, ClientStore, Database, RotatingKeyRing,
    TokenIssuer, PasswordAuthenticator,
    PasswordChange, PasswordHasher, PasswordPolicy, PasswordStore, Readiness, AccessTokenReader, RefreshCookies,
    RefreshTokenCodec, RevocationListPublisher, RevocationStore, RotationStore, SessionStore, Sessions,
    TokenVerifier, AccountStore,
)  # fmt: skip
METHODS = {
    f"{part.__name__}.{name}": (part, name)
    for part in PARTS
    for name, value in vars(part).items()
    if not name.startswith("_") and inspect.isfunction(value)
}
NOT_FOR_REQUESTS = {
    # Commands.
    "ClientStore.add", "ClientStore.disable", "ClientStore.enable", "ClientStore.list", "ClientStore.delete",
    "ClientStore.count_sessions",
    "AccountStore.add", "AccountStore.disable", "AccountStore.enable", "AccountStore.list",
    # Start, background tasks and stop.
    "Database.open", "RotatingKeyRing.replace", "PasswordHasher.close", "SessionStore.prune", "TokenVerifier.trust",
    # Only after a fault. `test_nothing_is_lost_after_a_rotation` has them.
    "PasswordGrant.undo", "RefreshTokenGrant.undo", "RotationStore.restore_parent", "Sessions.restore_parent",
    # Only for a token that was redeemed before. `test_repeated_refresh_tokens` has them.
    "RotationStore.record_late_repeat", "RotationStore.record_repeat_elsewhere",
    # Only for a token that is refused in any case.
    "RotatingKeyRing.fetch", "RotatingKeyRing.is_elsewhere", "RotatingKeyRing.signer_for",
    "Sessions.refuse",
    # For code without an event loop.
    "TokenVerifier.verify_sync",
    # A background task reads; no request does. What it reads is never overdue.
    "RevocationListPublisher.catch_up", "RevocationListPublisher.read", "RevocationStore.read", "RevocationStore.read_all",
}  # fmt: skip
SECRET = "a secret that an error holds"
COST = {"memory_kib": 64, "rounds": 1}
HASH, OLD_HASH = (argon2.using(type="ID", memory_cost=cost, rounds=1, parallelism=1).hash(PASSWORD) for cost in (64, 32))

_on_call: ContextVar[Callable[[str], object] | None] = ContextVar("on_call", default=None)
"""Called for each method that the current request calls. Background tasks do not call it."""

Asking = Callable[[], Awaitable[httpx2.Response]]


@pytest.fixture
async def watched(start_service: StartService, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service whose parts report each call, and that caches no client. Its hashes are cheap."""
    for name, (part, method) in METHODS.items():
        monkeypatch.setattr(part, method, reporting(name, vars(part)[method]))
    for method in ("allows", "is_current", "is_kind_current"):
        monkeypatch.setattr(f"authmint_service.change_feed.ChangeFeed.{method}", lambda *_: False)
    monkeypatch.setattr("authmint_service.features.sign_in.PasswordHasher", functools.partial(PasswordHasher, **COST))
    return await start_service()


def reporting(name: str, whole: Callable[..., object]) -> Callable[..., object]:
    """Return the method, which reports each call before it does its work."""

    @functools.wraps(whole)
    def reported(*values: object, **named: object) -> object:
        if on_call := _on_call.get():
            on_call(name)
        return whole(*values, **named)

    return reported


def break_at(broken: str) -> Callable[[str], None]:
    def on_call(name: str) -> None:
        if name == broken:
            raise RuntimeError(SECRET)

    return on_call


async def ask(asking: Asking, on_call: Callable[[str], object]) -> httpx2.Response:
    before = _on_call.set(on_call)
    try:
        return await asking()
    finally:
        _on_call.reset(before)


async def requests(service: Service, secret: str) -> list[Asking]:
    """Return requests of all kinds, each of which succeeds; those that revoke the session come last."""
    http, user, spa = service.http, await service.add_account(password_hash=HASH), await service.add_client()
    robot = await service.add_client(secret, scopes=frozenset({"admin:sessions:read", "admin:sessions:write"}))
    page = await signed_in(service, await service.add_account(password_hash=HASH))
    newcomer = await service.add_account(password_hash=OLD_HASH)
    tokens = (await service.sign_in(spa, user)).json()
    elsewhere = (await service.sign_in(spa, await service.add_account(password_hash=HASH))).json()
    form = {"grant_type": "client_credentials", "client_id": robot.client_id, "client_secret": secret}
    service_token = (await service.token(**form)).json()["access_token"]
    of_service, mine, of_other = (
        {"Authorization": f"Bearer {token}"} for token in (service_token, tokens["access_token"], elsewhere["access_token"])
    )
    who = {"client_id": robot.client_id, "client_secret": secret}
    passwords = {"current_password": PASSWORD, "new_password": PASSWORD}
    proof = {"refresh_token": elsewhere["refresh_token"]}

    async def repeated() -> httpx2.Response:
        """A refresh, and the same again, as after a lost response."""
        await service.refresh(spa, tokens["refresh_token"])
        return await service.refresh(spa, tokens["refresh_token"])

    return [
        lambda: service.sign_in(spa, newcomer),
        lambda: service.token(**form),
        lambda: http.post("/introspect", data=who | {"token": tokens["access_token"]}),
        lambda: http.post("/introspect", data=who | {"token": tokens["refresh_token"]}),
        lambda: http.post("/introspect", data=who | {"token": service_token}),
        lambda: http.post("/account/v1/sessions/revoke-others", data=proof, headers=of_other),
        repeated,
        lambda: page.refresh(),
        lambda: http.get("/account/v1", headers=mine),
        lambda: http.get("/account/v1/sessions", headers=mine),
        lambda: http.put("/account/v1/password", data=passwords, headers=of_other),
        lambda: http.get(f"/admin/v1/accounts/{user.id}/sessions", headers=of_service),
        lambda: http.get("/revocation-list?since=1&wait=1"),
        lambda: http.get("/.well-known/jwks.json"),
        lambda: http.get("/key-history"),
        lambda: http.get("/readyz"),
        lambda: service.internal("/metrics"),
        lambda: http.post("/revoke", data={"client_id": spa.client_id, "token": tokens["refresh_token"]}),
        lambda: http.delete("/account/v1/sessions/current", headers=mine),
        lambda: http.delete(f"/admin/v1/accounts/{user.id}/sessions", headers=of_service),
        lambda: page.sign_out(),
        lambda: http.post("/revoke", data=who | {"token": service_token}),
    ]


async def test_if_any_part_fails_the_response_is_a_500_without_details(
    watched: Service, secret: str, capfd: pytest.CaptureFixture[str]
) -> None:
    asked_by: list[set[str]] = []
    for asking in await requests(watched, secret):
        asked_by.append(set())
        answer = await ask(asking, asked_by[-1].add)
        assert answer.status_code in {200, 204}, (answer.request.url, answer.text)
    assert NOT_FOR_REQUESTS == METHODS.keys() - set().union(*asked_by)
    for broken in METHODS.keys() - NOT_FOR_REQUESTS:
        for asking, names in zip(await requests(watched, secret), asked_by, strict=True):
            if broken in names:
                answer = await ask(asking, break_at(broken))
                assert 500 == answer.status_code, (broken, answer.request.url, answer.text)
                assert "server_error" == answer.json()["code"]
                assert SECRET not in answer.text
    assert SECRET not in capfd.readouterr().err
