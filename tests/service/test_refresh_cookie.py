"""A client with its refresh token in a cookie: no script reads it, no other page uses it, no lost race deletes it."""

import asyncio
import json
from typing import Any

import httpx2
import pytest

from authmint_service.errors import InvalidValue
from tests.service.browser import DEAD, PAGE, REFUSED, Browser, add_client, error_of, signed_in
from tests.service.conftest import PASSWORD, Service, StartService

pytestmark = pytest.mark.anyio


def code_of(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize(("changes", "seconds"), [({}, 14 * 86_400), ({"session_idle_ttl": 3600}, 3600)])
async def test_the_cookie_has_every_attribute_that_protects_it_and_lives_as_long_as_an_idle_session(
    service: Service, changes: dict[str, Any], seconds: int
) -> None:
    browser, user = Browser(service, await add_client(service, **changes)), await service.add_account()
    for answer in (browser.sign_in(user), browser.refresh()):
        (header,) = (arrived := await answer).headers.get_list("set-cookie")
        value, *attributes = header.split("; ")
        assert f"{browser.name}={browser.refresh_token}" == value
        assert {"Secure", "HttpOnly", "SameSite=strict", "Path=/", f"Max-Age={seconds}"} == set(attributes)
        assert "no-store" == arrived.headers["cache-control"]


async def test_no_response_has_the_refresh_token_in_its_body(service: Service) -> None:
    browser = Browser(service, await add_client(service))
    answers = [await browser.sign_in(await service.add_account()), await browser.refresh(), await browser.refresh()]
    for answer in answers:
        assert {"access_token", "token_type", "expires_in", "scope"} == set(answer.json())
        assert "amrt_" not in answer.text
    assert 200 == (await browser.sign_out()).status_code


async def test_no_form_may_have_it_with_or_without_a_cookie(service: Service) -> None:
    browser = await signed_in(service)
    token = browser.refresh_token
    without = Browser(service, browser.client)
    for one in (browser, without):
        assert REFUSED == error_of(await one.refresh(refresh_token=token))
        assert REFUSED == error_of(await one.sign_out(token=token))
    assert token == browser.refresh_token
    assert 200 == (await browser.refresh()).status_code


async def test_refreshing_rotates_the_cookie(service: Service) -> None:
    browser = await signed_in(service)
    seen = {browser.refresh_token}
    for _ in range(5):
        assert 200 == (await browser.refresh()).status_code
        seen.add(browser.refresh_token)
    assert 6 == len(seen)


async def test_clients_on_one_site_have_a_cookie_each(service: Service) -> None:
    one = await signed_in(service)
    two = await signed_in(service)
    one.cookies |= two.cookies
    two.cookies = one.cookies
    assert 2 == len(one.cookies)
    assert {200} == {(await browser.refresh()).status_code for browser in (one, two, one, two)}
    await one.sign_out()
    assert {two.name} == set(two.cookies)
    assert 200 == (await two.refresh()).status_code


async def test_a_cookie_under_another_clients_name_is_not_its_token(service: Service) -> None:
    one, two = await signed_in(service), await signed_in(service)
    two.cookies = {two.name: one.refresh_token}
    assert DEAD == error_of(await two.refresh())
    assert 200 == (await two.sign_out()).status_code
    assert 200 == (await one.refresh()).status_code


async def test_a_client_without_cookies_gets_none_and_only_its_forms_count(service: Service) -> None:
    browser, user = await signed_in(service), await service.add_account()
    plain = await service.add_client()
    tokens = await service.sign_in(plain, user)
    assert "set-cookie" not in tokens.headers
    cookie = {"Cookie": f"__Host-authmint-refresh-{plain.client_id}={browser.refresh_token}", "Origin": PAGE}
    form = {"client_id": plain.client_id, "grant_type": "refresh_token"}
    assert REFUSED == error_of(await service.http.post("/token", data=form, headers=cookie))
    form["refresh_token"] = tokens.json()["refresh_token"]
    answer = await service.http.post("/token", data=form, headers=cookie)
    assert 200 == answer.status_code
    assert "set-cookie" not in answer.headers


async def test_without_a_cookie_no_one_is_signed_in(service: Service) -> None:
    browser = Browser(service, await add_client(service))
    assert DEAD == error_of(await browser.refresh())
    answer = await browser.sign_out()
    assert (200, None) == (answer.status_code, answer.headers.get("set-cookie"))


@pytest.mark.parametrize("text", ["", "amrt_", "x" * 8000, '"quoted"', "%00", "a=b", "m\u00fcr", "\x01"])
async def test_any_text_in_the_cookie_is_a_dead_token(service: Service, text: str) -> None:
    browser = Browser(service, await add_client(service))
    headers = [(b"cookie", f"{browser.name}={text}".encode("latin-1")), (b"origin", PAGE.encode())]
    form = {"grant_type": "refresh_token", "client_id": browser.client.client_id}
    answer = await service.http.post("/token", data=form, headers=headers)
    assert DEAD == error_of(answer)
    assert "set-cookie" not in answer.headers


async def test_of_two_cookies_with_one_name_neither_is_accepted(service: Service) -> None:
    one = await signed_in(service)
    forged = (await signed_in(service)).refresh_token
    headers = {"Origin": PAGE, "Cookie": f"{one.name}={forged}; theme=dark; {one.name}={one.refresh_token}"}
    form = {"grant_type": "refresh_token", "client_id": one.client.client_id}
    assert REFUSED == error_of(await service.http.post("/token", data=form, headers=headers))
    assert 200 == (await one.refresh()).status_code


# Tabs of one browser: their responses arrive in any order.


async def test_tabs_that_refresh_at_once_all_get_the_same_cookie(service: Service) -> None:
    browser = await signed_in(service)
    answers = await asyncio.gather(*(browser.send("/token", grant_type="refresh_token") for _ in range(20)))
    assert {200} == {answer.status_code for answer in answers}
    assert 1 == len({tuple(answer.headers.get_list("set-cookie")) for answer in answers})
    for answer in answers:
        browser.take(answer)
    assert 200 == (await browser.refresh()).status_code


async def test_a_late_response_with_an_older_cookie_signs_no_one_out_within_the_grace_period(service: Service) -> None:
    browser = await signed_in(service)
    late = await browser.send("/token", grant_type="refresh_token")
    await browser.refresh()
    await browser.refresh()
    browser.take(late)
    assert 200 == (await browser.refresh()).status_code


async def test_the_tab_that_loses_a_race_does_not_clear_the_cookie_of_the_winner(start_service: StartService) -> None:
    service = await start_service()
    user = await service.add_account()
    browser = await signed_in(service, user)
    slow_tab = Browser(service, browser.client, cookies=dict(browser.cookies))
    await browser.refresh()
    await browser.refresh()
    # The slow tab's copy is an older generation now, so it is refused; meanwhile the user signs in again.
    losers = [await slow_tab.send("/token", grant_type="refresh_token"), await slow_tab.send("/revoke")]
    await browser.sign_in(user)
    for loser in losers:
        assert "set-cookie" not in browser.take(loser).headers
    assert DEAD == error_of(losers[0])
    assert 200 == (await browser.refresh()).status_code


async def test_signing_out_deletes_the_cookie_of_the_session_that_it_revoked(service: Service) -> None:
    browser = await signed_in(service)
    copy = Browser(service, browser.client, cookies=dict(browser.cookies))
    answer = await browser.sign_out()
    (header,) = answer.headers.get_list("set-cookie")
    assert {"Secure", "HttpOnly", "SameSite=strict", "Path=/", "Max-Age=0"} <= set(header.split("; "))
    assert {} == browser.cookies
    assert DEAD == error_of(await copy.refresh())


async def test_two_tabs_that_sign_out_revoke_one_session_and_the_second_leaves_a_new_cookie_alone(service: Service) -> None:
    user = await service.add_account()
    browser = await signed_in(service, user)
    first, second = await browser.send("/revoke"), await browser.send("/revoke")
    browser.take(first)
    await browser.sign_in(user)
    assert 200 == browser.take(second).status_code
    assert 200 == (await browser.refresh()).status_code


async def revoke_others(
    browser: Browser, access_token: str, path: str = "/account/v1/sessions/revoke-others", **form: str
) -> httpx2.Response:
    # The client keeps cookies too; a browser without the cookie must send none.
    browser.service.http.cookies.clear()
    headers = [("Authorization", f"Bearer {access_token}")]
    headers += [("Cookie", f"{name}={value}") for name, value in browser.cookies.items()]
    if browser.origin is not None:
        headers.append(("Origin", browser.origin))
    method = "PUT" if path.endswith("/password") else "POST"
    return await browser.service.http.request(method, path, data=form or None, headers=headers)


async def test_the_cookie_proves_the_session_that_stays_when_all_others_are_revoked(service: Service) -> None:
    user = await service.add_account()
    browser = Browser(service, await add_client(service))
    access_token = (await browser.sign_in(user)).json()["access_token"]
    other = await signed_in(service, user)
    assert (400, "invalid_request") == code_of(await revoke_others(browser, access_token, refresh_token=browser.refresh_token))
    for origin in (None, "https://evil.example"):
        browser.origin = origin
        assert (400, "invalid_request") == code_of(await revoke_others(browser, access_token))
    browser.origin = PAGE
    assert 200 == (await other.refresh()).status_code
    copied = browser.refresh_token
    answer = browser.take(await revoke_others(browser, access_token))
    assert {"this_session": "kept"} == answer.json()
    assert (200, PAGE, "true") == (
        answer.status_code, answer.headers["access-control-allow-origin"], answer.headers["access-control-allow-credentials"],
    )  # fmt: skip
    assert DEAD == error_of(await other.refresh())
    assert copied != browser.refresh_token
    assert 200 == (await browser.refresh()).status_code
    browser.cookies = dict.fromkeys(browser.cookies, copied)
    assert DEAD == error_of(await browser.refresh())


async def test_without_the_cookie_this_session_is_revoked_as_well_from_wherever_the_request_comes(service: Service) -> None:
    user = await service.add_account()
    browser = Browser(service, await add_client(service))
    access_token = (await browser.sign_in(user)).json()["access_token"]
    without = Browser(service, browser.client)
    without.origin = None
    answer = await revoke_others(without, access_token)
    assert (200, {"this_session": "revoked"}, False) == (answer.status_code, answer.json(), "set-cookie" in answer.headers)
    assert DEAD == error_of(await browser.refresh())


async def test_the_cookie_proves_the_session_that_stays_when_the_password_is_changed(service: Service) -> None:
    user = await service.add_account()
    browser, other = Browser(service, await add_client(service)), await signed_in(service, user)
    access_token = (await browser.sign_in(user)).json()["access_token"]
    form = {"current_password": PASSWORD, "new_password": "nine blue herons on a barge"}
    for origin in (None, "https://evil.example", "null"):
        browser.origin = origin
        assert (400, "invalid_request") == code_of(await revoke_others(browser, access_token, "/account/v1/password", **form))
    browser.origin = PAGE
    in_both = {**form, "refresh_token": browser.refresh_token}
    assert (400, "invalid_request") == code_of(await revoke_others(browser, access_token, "/account/v1/password", **in_both))
    answer = browser.take(await revoke_others(browser, access_token, "/account/v1/password", **form))
    assert (200, {"this_session": "kept"}) == (answer.status_code, answer.json())
    assert DEAD == error_of(await other.refresh())
    assert 200 == (await browser.refresh()).status_code


async def test_two_cookies_and_the_cookie_of_another_session_prove_nothing(service: Service) -> None:
    user = await service.add_account()
    browser = Browser(service, await add_client(service))
    access_token = (await browser.sign_in(user)).json()["access_token"]
    other = Browser(service, browser.client)
    await other.sign_in(user)
    answer = await revoke_others(other, access_token)
    assert (400, "refresh_token_invalid") == code_of(answer)
    (name,) = browser.cookies
    two = [("Authorization", f"Bearer {access_token}"), ("Origin", PAGE)]
    two += [("Cookie", f"{name}={one.refresh_token}") for one in (browser, other)]
    answer = await service.http.post("/account/v1/sessions/revoke-others", headers=two)
    assert (400, "invalid_request") == code_of(answer)
    assert [200, 200] == [(await one.refresh()).status_code for one in (browser, other)]


async def test_an_access_token_can_be_revoked_by_name_and_the_cookie_stays_where_it_is(service: Service) -> None:
    browser = Browser(service, await add_client(service))
    access_token = (await browser.sign_in(await service.add_account())).json()["access_token"]
    answer = await browser.sign_out(token=access_token)
    assert (200, None) == (answer.status_code, answer.headers.get("set-cookie"))
    assert DEAD == error_of(await browser.refresh())
    assert {browser.name} == set(browser.cookies)


@pytest.mark.parametrize(
    "wrong", [{"grant_type": "nonsense"}, {"scope": "admin"}, {"resource": "elsewhere"}, {"client_id": "x"}]
)
async def test_an_error_of_any_kind_leaves_the_cookie_alone(service: Service, wrong: dict[str, str]) -> None:
    browser = await signed_in(service)
    before = dict(browser.cookies)
    answer = browser.take(await browser.send("/token", **({"grant_type": "refresh_token"} | wrong)))
    assert 400 <= answer.status_code < 500
    assert before == browser.cookies
    assert 200 == (await browser.refresh()).status_code


async def test_while_the_database_is_unavailable_the_cookie_stays_and_the_page_may_read_the_503(service: Service) -> None:
    browser = await signed_in(service)
    before = dict(browser.cookies)
    await service.database.execute("ALTER TABLE authmint.sessions RENAME TO hidden_sessions")
    try:
        for answer in (await browser.refresh(), await browser.sign_out()):
            assert (503, PAGE) == (answer.status_code, answer.headers["access-control-allow-origin"])
            assert "retry-after" in answer.headers["access-control-expose-headers"].lower()
    finally:
        await service.database.execute("ALTER TABLE authmint.hidden_sessions RENAME TO sessions")
    assert before == browser.cookies
    assert 200 == (await browser.refresh()).status_code


# Configuration, documentation and logs


@pytest.mark.parametrize(
    "wrong",
    [
        {"origins": ()}, {"origins": ("*",)}, {"origins": ("null",)}, {"origins": (f"{PAGE}/",)}, {"origins": (PAGE.upper(),)},
        {"origins": (f"{PAGE}:443",)}, {"origins": ("https://me@app.example",)}, {"origins": (f"{PAGE}:99999",)},
        {"origins": ("https://*.example",)}, {"origins": ("https://b\u00fccher.example",)}, {"origins": ("ftp://a.example",)},
        {"origins": ("https://",)}, {"origins": (f"{PAGE}:",)}, {"grants": frozenset({"password"})},
    ],
)  # fmt: skip
async def test_a_client_whose_cookie_could_not_work_is_refused(service: Service, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        await add_client(service, **wrong)


@pytest.mark.parametrize(
    ("environment", "issuer", "plain"),
    [
        ("development", "http://127.0.0.1:8000", True), ("development", "http://localhost:8000", True),
        ("development", "https://127.0.0.1:8000", False),
        ("production", "http://127.0.0.1:8000", False), ("production", "https://auth.example", False),
    ],
)  # fmt: skip
async def test_on_loopback_http_a_development_start_sets_insecure_cookies_and_logs_it(
    start_service: StartService, capfd: pytest.CaptureFixture[str], environment: str, issuer: str, *, plain: bool
) -> None:
    service = await start_service(environment=environment, issuer=issuer)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert plain == any("differ from production" in line.get("note", "") for line in lines)
    client, user = await add_client(service, resources=("orders",), default_resources=("orders",)), await service.add_account()
    answer = await Browser(service, client).sign_in(user)
    (header,) = answer.headers.get_list("set-cookie")
    assert (plain, not plain) == (header.startswith("authmint-refresh-"), "Secure" in header)
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(header.split("; "))


async def test_openapi_describes_the_cookie(service: Service) -> None:
    paths = (await service.http.get("/openapi.json")).json()["paths"]
    for path in ("/token", "/revoke"):
        assert "__Host-authmint-refresh-" in paths[path]["post"]["description"]
    assert "Set-Cookie" in paths["/token"]["post"]["responses"]["200"]["headers"]


async def test_logs_never_show_the_cookie(start_service: StartService, capfd: pytest.CaptureFixture[str]) -> None:
    service = await start_service()
    browser = await signed_in(service)
    seen = [browser.refresh_token]
    for _ in range(2):
        await browser.refresh()
        seen.append(browser.refresh_token)
    browser.origin = "https://evil.example"
    await browser.refresh()
    browser.origin = PAGE
    browser.cookies[browser.name] = seen[0]
    assert DEAD == error_of(await browser.refresh())
    await browser.sign_out()
    said = capfd.readouterr()
    assert "refresh_token.reused" in said.err
    for token in seen:
        assert token not in said.out + said.err
        assert token[4:40] not in said.out + said.err
