"""Logs record what happened, and hold no secret and no line that a client wrote."""

import json
import logging
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, field

import httpx2
import pytest

from authmint_service.accounts import Account
from authmint_service.clients import Client
from authmint_service.logs import configure_logging
from tests.service.conftest import PASSWORD, Service, StartService
from tests.service.routes import endpoints_of

pytestmark = pytest.mark.anyio

CANARY = "canary-6f1c2a"


def lines_of(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


NASTY = "a\r\nFAKE\x1b[31m\u2028\u202e\x85\u2066b"


async def test_each_request_is_one_line_of_json_whatever_is_in_it(
    start_service: StartService, capfd: pytest.CaptureFixture[str]
) -> None:
    service = await start_service()
    user, client = await service.add_account(), await service.add_client()
    nasty = NASTY.encode()
    headers = {b"User-Agent": nasty, b"Authorization": b"Bearer " + nasty, b"X-Request-ID": nasty}
    capfd.readouterr()
    await service.http.get("/a\r\nFAKE\x1b[31m\u2028\u202e\x00\x85".encode("unicode_escape").decode())
    await service.http.get("/%0d%0aFAKE%1b%5b31m%e2%80%a8%e2%80%ae%c2%85")
    await service.http.get("/account/v1", headers=headers)
    await service.http.request("A\x1b[31mFAKE", "/token")
    await service.token(grant_type="password", client_id="x\r\nFAKE", username="a\nb\u2028", password="\x1b")
    await service.token(grant_type="password", client_id=client.client_id, username=NASTY, password=NASTY, scope=NASTY)
    await service.sign_in(client, user, NASTY)
    await service.token(grant_type=NASTY, client_id=client.client_id, **{NASTY: NASTY})
    text = capfd.readouterr().err
    assert 8 == len(lines_of(text))
    assert not [line for line in text.split("\n") if line.startswith("FAKE")]
    assert not set(text) & set("\x1b\u2028\u202e\x85\r\u2066")


async def test_a_long_poll_that_was_served_is_logged_at_debug(
    start_service: StartService, capfd: pytest.CaptureFixture[str]
) -> None:
    service = await start_service()
    await service.http.get("/revocation-list")
    capfd.readouterr()
    for query, level in (("?since=1&wait=1", "debug"), ("", "info"), ("?wait=no", "info")):
        await service.http.get(f"/revocation-list{query}")
        assert [level] == [line["level"] for line in lines_of(capfd.readouterr().err)], query


@pytest.mark.parametrize("form", ["json", "console"])
def test_control_characters_are_escaped_in_both_forms(capfd: pytest.CaptureFixture[str], form: str) -> None:
    configure_logging("INFO", form)
    logging.getLogger("another.library").warning("a\r\nb %s", "\x1b]0;x\x07\u202e")
    text = capfd.readouterr().err
    assert 1 == len(text.splitlines())
    assert "\\u001b" in text
    assert "another.library" in text
    assert not set(text.rstrip("\n")) & set("\r\u202e\x07")


async def test_another_librarys_traceback_is_logged_without_the_text_of_the_error(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json")
    try:
        raise ValueError(CANARY)
    except ValueError:
        logging.getLogger("another.library").exception("it failed")
    (line,) = lines_of(capfd.readouterr().err)
    assert CANARY not in str(line)
    assert "ValueError" in str(line["error_locations"])


@dataclass
class Requests:
    """Counts the log lines of each event that the requests must have written."""

    service: Service
    expected: Counter[str] = field(default_factory=Counter)

    async def __call__(self, event: str, request: Awaitable[httpx2.Response], *, also: str = "") -> httpx2.Response:
        """`event`: of the request's own line; `also`: of one more."""
        response = await request
        self.expected.update([event, also] if also else [event])
        return response


async def test_each_request_is_logged_with_its_event_its_parties_and_its_ip_address(
    start_service: StartService, secret: str, capfd: pytest.CaptureFixture[str]
) -> None:
    service = await start_service(refresh_grace_seconds=0)
    user, client = await service.add_account(), await service.add_client()
    robot = await service.add_client(secret, scopes=frozenset({"admin:sessions:read", "admin:sessions:write"}))
    capfd.readouterr()
    requests = Requests(service)
    for _ in range(3):
        await cause_every_event(requests, user, client, robot, secret)
    lines = lines_of(capfd.readouterr().err)
    assert requests.expected == Counter(str(line["event"]) for line in lines)
    for line in lines:
        assert {"ip_address", "request_id", "timestamp", "level", "logger"} <= set(line), line
        # All parties that are known are named: the account or the service, the client, the token, the session.
        known = FIELDS.get(str(line["event"]), set()) | FIELDS_OF_EXTENT.get(str(line.get("extent")), set())
        assert known <= {name for name, value in line.items() if value}, line
        assert str(line["logger"]).startswith("authmint_service."), line
    assert {"others", "all"} == {line["extent"] for line in lines if line["event"] == "sessions.revoked"}
    assert {user.id, robot.subject} <= {line.get("sub") for line in lines}
    wrong_password = [line for line in lines if line.get("reason") == "The username or the password is wrong."]
    assert {user.id, None} == {line.get("sub") for line in wrong_password}
    assert {"malformed_token"} == {line["reason"] for line in lines if line["event"] == "token.refused"}


FIELDS = {
    "token.issued": {"sub", "client_id", "grant_type", "jti"},
    "request.refused": {"client_id", "reason", "error"},
    "refresh_token.repeated": {"sub", "sid", "client_id", "grant_type", "reason"},
    "refresh_token.reused": {"sub", "sid", "client_id", "grant_type", "reason"},
    "session.revoked": {"sub", "sid", "actor", "client_id"},
    "token.revoked": {"sub", "jti", "actor", "client_id"},
    "sessions.revoked": {"sub", "extent", "client_id", "jti"},
    "password.changed": {"sub", "sid", "client_id", "jti"},
    "password.change_refused": {"sub", "sid", "client_id", "jti", "reason"},
    "token.refused": {"reason"},
}
FIELDS_OF_EXTENT = {"others": {"sid"}, "all": {"actor"}}


async def cause_every_event(requests: Requests, user: Account, client: Client, robot: Client, secret: str) -> None:
    """Each success and each failure of an authentication, a refresh, a reuse, and each way to revoke sessions."""
    service, http = requests.service, requests.service.http
    first = (await requests("token.issued", service.sign_in(client, user))).json()
    await requests("request.refused", service.sign_in(client, user, "wrong"))
    await requests("request.refused", service.token(
        grant_type="password", client_id=client.client_id, username="nobody at all", password="x"))  # fmt: skip
    second = (await requests("token.issued", service.refresh(client, first["refresh_token"]))).json()
    service.clock.now += 1
    await requests("token.issued", service.refresh(client, first["refresh_token"]), also="refresh_token.repeated")
    await requests("request.served", service.refresh_elsewhere(client, first["refresh_token"]), also="refresh_token.reused")
    await requests("request.refused", service.refresh(client, second["refresh_token"]))
    await requests("request.refused", service.refresh(client, "amrt_nonsense"))
    form = {"grant_type": "client_credentials", "client_id": robot.client_id, "client_secret": secret}
    as_service = bearer((await requests("token.issued", service.token(**form))).json())
    third = (await requests("token.issued", service.sign_in(client, user))).json()
    mine = bearer(third)
    await requests("request.served", http.get("/account/v1", headers=mine))
    await requests("token.refused", http.get("/account/v1", headers={"Authorization": "Bearer a.b"}))
    await requests("request.served", http.get("/account/v1"))
    proof = {"refresh_token": third["refresh_token"]}
    others = http.post("/account/v1/sessions/revoke-others", data=proof, headers=mine)
    proof = {"refresh_token": (await requests("request.served", others, also="sessions.revoked")).json()["refresh_token"]}
    wrong = {"current_password": "wrong", "new_password": f"{PASSWORD} again"}
    await requests("request.served", http.put("/account/v1/password", data=wrong, headers=mine), also="password.change_refused")
    right = wrong | {"current_password": PASSWORD} | proof
    also = "password.changed"
    changed = await requests("request.served", http.put("/account/v1/password", data=right, headers=mine), also=also)
    proof = {"refresh_token": changed.json()["refresh_token"]}
    back = {"current_password": right["new_password"], "new_password": PASSWORD} | proof
    changed = await requests("request.served", http.put("/account/v1/password", data=back, headers=mine), also=also)
    revoked = {"client_id": client.client_id, "token": changed.json()["refresh_token"]}
    await requests("request.served", http.post("/revoke", data=revoked), also="session.revoked")
    await requests("request.served", http.post("/revoke", data=revoked))
    fourth = bearer((await requests("token.issued", service.sign_in(client, user))).json())
    await requests("request.served", http.delete("/account/v1/sessions/current", headers=fourth), also="session.revoked")
    await requests(
        "request.served", http.delete(f"/admin/v1/accounts/{user.id}/sessions", headers=as_service), also="sessions.revoked"
    )
    own = {"client_id": robot.client_id, "client_secret": secret, "token": as_service["Authorization"].removeprefix("Bearer ")}
    await requests("request.served", http.post("/revoke", data=own), also="token.revoked")
    await requests("request.served", http.post("/revoke", data=own))


def bearer(tokens: dict[str, str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


async def test_the_principal_of_an_access_token_is_logged_at_every_protected_route(
    start_service: StartService, secret: str, capfd: pytest.CaptureFixture[str]
) -> None:
    service = await start_service()
    user, client = await service.add_account(), await service.add_client()
    robot = await service.add_client(secret, scopes=frozenset({"admin:sessions:read", "admin:sessions:write"}))
    form = {"grant_type": "client_credentials", "client_id": robot.client_id, "client_secret": secret}
    protected = ("/account/v1", "/admin/v1/")
    endpoints = [endpoint for endpoint in endpoints_of(service.app) if endpoint.path.startswith(protected)]
    assert len(endpoints) > 7
    for endpoint in endpoints:
        for tokens in (await service.sign_in(client, user), await service.token(**form)):
            capfd.readouterr()
            answer = await service.http.request(endpoint.method, endpoint.filled(), headers=bearer(tokens.json()))
            line = lines_of(capfd.readouterr().err)[-1]
            if answer.status_code != 403:
                assert {"sub", "client_id", "jti"} <= set(line), (endpoint, line)
