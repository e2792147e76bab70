"""Logs tell what happened, and hold no secret and no line that somebody else wrote."""

import json
import logging

import pytest

from service.telemetry import configure_logging
from tests.service.conftest import PASSWORD, StartService

pytestmark = pytest.mark.anyio

CANARY = "canary-6f1c2a"


def lines_of(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


async def test_no_secret_reaches_a_log_or_an_answer(
    start_service: StartService, secret: str, capfd: pytest.CaptureFixture[str]
) -> None:
    service = await start_service()
    user, spa = await service.add_user(), await service.add_client()
    robot = await service.add_client(secret)
    signed_in = await service.sign_in(spa, user)
    refreshed = await service.refresh(spa, signed_in.json()["refresh_token"])
    machine = await service.token(grant_type="client_credentials", client_id=robot.client_id, client_secret=secret)
    secrets = [
        PASSWORD, secret, user.password_hash, signed_in.json()["access_token"], signed_in.json()["refresh_token"],
        refreshed.json()["refresh_token"], machine.json()["access_token"], machine.json()["access_token"].split(".")[2],
    ]  # fmt: skip
    answers = [
        await service.token(**dict.fromkeys(("grant_type", "username", "password", "refresh_token"), CANARY)),
        await service.token(**dict.fromkeys(("client_id", "client_secret", "scope", "resource", CANARY), CANARY)),
        await service.token(grant_type="password", client_id=spa.client_id, username=CANARY, password=CANARY, scope=CANARY),
        await service.token(grant_type="password", client_id=spa.client_id, username=CANARY, password=CANARY),
        await service.token(grant_type="refresh_token", client_id=spa.client_id, refresh_token=CANARY, resource=CANARY),
        await service.token(grant_type="refresh_token", client_id=spa.client_id, refresh_token=CANARY),
        await service.http.get("/users/me", headers={"Authorization": f"Bearer {CANARY}"}),
        await service.http.get("/users/me", headers={"Authorization": f"Bearer {signed_in.json()['access_token']}x"}),
        await service.http.post("/token", data={"grant_type": CANARY}, auth=(CANARY, CANARY)),
        await service.http.post("/token", content=CANARY.encode(), headers={"Content-Type": CANARY}),
        await service.http.get(f"/users/me?access_token={CANARY}", headers={"User-Agent": CANARY, "Cookie": CANARY}),
    ]  # fmt: skip
    await service.database.execute("ALTER TABLE users RENAME TO hidden_users")
    try:
        answers.append(await service.token(grant_type="password", client_id=spa.client_id, username=CANARY, password=CANARY))
    finally:
        await service.database.execute("ALTER TABLE hidden_users RENAME TO users")
    said = capfd.readouterr()
    for answer in answers:
        assert CANARY not in answer.text + str(answer.headers)
    for leaked in [CANARY, *secrets]:
        assert leaked not in said.out + said.err
    assert "token issued" in said.err


async def test_each_request_is_one_line_of_json_whatever_is_in_it(
    start_service: StartService, capfd: pytest.CaptureFixture[str]
) -> None:
    service = await start_service()
    nasty = "/a\r\nFAKE\x1b[31m\u2028\u202e\x00\x85"
    await service.http.get(nasty.encode("unicode_escape").decode())
    await service.http.get("/%0d%0aFAKE%1b%5b31m%e2%80%a8%e2%80%ae%c2%85")
    await service.token(grant_type="password", client_id="x\r\nFAKE", username="a\nb\u2028", password="\x1b")
    text = capfd.readouterr().err
    assert 3 == len(lines_of(text))
    assert not [line for line in text.split("\n") if line.startswith("FAKE")]
    assert not set(text) & set("\x1b\u2028\u202e\x85\r")


@pytest.mark.parametrize("form", ["json", "console"])
def test_control_characters_are_escaped_in_both_forms(capfd: pytest.CaptureFixture[str], form: str) -> None:
    configure_logging("INFO", form)
    logging.getLogger("somebody").warning("a\r\nb %s", "\x1b]0;x\x07\u202e")
    text = capfd.readouterr().err
    assert 1 == len(text.splitlines())
    assert "\\u001b" in text
    assert not set(text.rstrip("\n")) & set("\r\u202e\x07")


async def test_another_librarys_traceback_is_logged_without_the_text_of_the_error(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json")
    try:
        raise ValueError(CANARY)
    except ValueError:
        logging.getLogger("somebody").exception("it failed")
    (line,) = lines_of(capfd.readouterr().err)
    assert CANARY not in str(line)
    assert "ValueError" in str(line["error_at"])


async def test_sign_in_refresh_failure_and_reuse_are_each_logged_with_who_and_where_from(
    start_service: StartService, capfd: pytest.CaptureFixture[str]
) -> None:
    service = await start_service(refresh_grace=0)
    user, client = await service.add_user(), await service.add_client()
    capfd.readouterr()
    first = (await service.sign_in(client, user)).json()["refresh_token"]
    await service.sign_in(client, user, "wrong")
    await service.refresh(client, first)
    service.clock.now += 1
    await service.refresh(client, first)
    events = [line for line in lines_of(capfd.readouterr().err) if line["event"] != "request"]
    assert ["token issued", "request refused", "token issued", "refresh token reused, session revoked"] == [
        line["event"] for line in events
    ]
    for line in events:
        assert {"peer", "client_id", "grant", "request_id", "timestamp"} <= set(line)
    for line in (events[0], events[2], events[3]):
        assert user.id == line["sub"]
        assert line["sid"]
