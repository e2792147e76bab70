"""The example page in many tabs of a real browser: one refreshes for all, and only a sign-out signs a person out."""

import base64
import json
import random
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from authmint_service.embedded_postgres import holding_embedded_postgres
from tests.browser.tabs import PASSWORD, USERNAME, Browser, Site, check_programs, log_lines, open_browser
from tests.e2e.conftest import Running, fetch

pytestmark = [
    pytest.mark.browser,
    pytest.mark.clients,
    pytest.mark.process,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("browser"),
]

LIFETIME = 5
"""Seconds that an access token lives: the shortest that can be set."""
OTHER_PASSWORD = "eight purple parrots in a boat"
REFUSE_ONCE = """
    globalThis.asked = 0;
    const send = globalThis.fetch;
    globalThis.fetch = (url, options) => {
      if (!String(url).endsWith("/revoke-others")) return send(url, options);
      globalThis.asked += 1;
      return globalThis.asked === 1 ? Promise.resolve(new Response("{}", { status: 401 })) : send(url, options);
    };
    0
"""
"""Let the page's first request for a sign-out elsewhere be refused, as if its token were from before a change."""
CLIENT_FORM = "new URLSearchParams({client_id: 'page'})"


def change_password(current: str, new: str) -> str:
    """Return an expression that changes the password by session.js. Its value is the code of the error, or the state."""
    return f"""
        Promise.all([import("/session.js"), import("/config.js")]).then(async ([{{ Session }}, {{ default: config }}]) => {{
          const session = new Session(config);
          await session.start();
          const changed = session.changePassword({json.dumps(current)}, {json.dumps(new)});
          return changed.then(() => session.state, (error) => error.code);
        }})
    """


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    check_programs()
    return Site(tmp_path_factory.mktemp("site"), LIFETIME)


@pytest.fixture(scope="module")
def service(site: Site) -> Iterator[Running]:
    with site.token_service() as service, site.services():
        yield service


@pytest.fixture
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


def stay_open(site: Site, service: Running, browser: Browser, *, lifetimes: int) -> None:
    """Keep five tabs open and reload them at random; then check the refreshes and sign-outs."""
    issued_before = len(log_lines(service, "token.issued"))
    tabs = [browser.do("open", site.page) for _ in range(5)]
    browser.wait_until("signed-out", *tabs)
    browser.sign_in(tabs[0])
    browser.wait_until("signed-in", *tabs)
    before, seed = len(browser.do("notes")["states"]), random.randrange(2**32)
    chance, reloads, ends_at = random.Random(seed), 0, time.monotonic() + lifetimes * LIFETIME
    while time.monotonic() < ends_at:
        browser.do("reload", chance.choice(tabs))
        reloads += 1
        time.sleep(chance.uniform(0.05, 1.5))
    browser.wait_until("signed-in", *tabs)
    browser.order(tabs[-1], "Tea")

    states = browser.do("notes")["states"][before:]
    issued = log_lines(service, "token.issued")[issued_before:]
    refreshes = [line["grant_type"] for line in issued].count("refresh_token")
    measured = {
        "tabs": len(tabs), "lifetimes": lifetimes, "reloads": reloads, "refreshes": refreshes,
        "sign_outs": states.count("signed-out"), "seed": seed,
    }  # fmt: skip
    print(json.dumps({"five tabs": measured}))
    assert 0 == measured["sign_outs"]
    assert reloads <= states.count("signed-in")
    # Each token is renewed after four fifths of its life, once for all tabs; the one for the account when a reload needs it.
    assert lifetimes <= refreshes <= 2 * (1.5 * lifetimes + 2)
    assert 1 == len({line["sid"] for line in issued})


def test_five_tabs_that_are_reloaded_at_random_stay_signed_in(site: Site, service: Running, browser: Browser) -> None:
    stay_open(site, service, browser, lifetimes=3)


@pytest.mark.long
@pytest.mark.timeout(400)
def test_five_tabs_stay_signed_in_for_twenty_lifetimes(site: Site, service: Running, browser: Browser) -> None:
    stay_open(site, service, browser, lifetimes=20)


def test_signing_out_in_one_tab_signs_out_all_and_a_reload_does_not_undo_it(
    site: Site, service: Running, browser: Browser
) -> None:
    tabs = [browser.do("open", site.page) for _ in range(3)]
    for button in ("#sign-out", "#sign-out-everywhere"):
        browser.wait_until("signed-out", *tabs)
        browser.sign_in(tabs[1])
        browser.wait_until("signed-in", *tabs)
        browser.order(tabs[2], "Tea")
        browser.do("click", tabs[0], button)
        browser.wait_until("signed-out", *tabs)
        browser.wait_until_confirmed(tabs[0])
        assert [] == browser.do("cookies")
        # Nothing of the person is left in the page.
        assert 0 == browser.do("evaluate", tabs[2], "document.querySelectorAll('#orders td').length")
        browser.do("reload", tabs[0])
    browser.wait_until("signed-out", *tabs)


def test_a_second_tab_and_a_browser_that_was_closed_find_the_person_signed_in(
    site: Site, service: Running, browser: Browser
) -> None:
    first = browser.do("open", site.page)
    browser.wait_until("signed-out", first)
    browser.sign_in(first)
    browser.wait_until("signed-in", first)
    browser.do("wait", first, f"#name:text('{USERNAME}')")
    # The second gets both tokens from the first, without a request. After the first is closed it refreshes by itself.
    issued = len(log_lines(service, "token.issued"))
    second = browser.do("open", site.page)
    browser.wait_until("signed-in", second)
    browser.do("wait", second, f"#name:text('{USERNAME}')")
    assert issued == len(log_lines(service, "token.issued"))
    browser.do("close", first)
    browser.do("reload", second)
    browser.wait_until("signed-in", second)

    browser.do("restart")
    assert ["authmint-refresh-page"] == [cookie["name"] for cookie in browser.do("cookies")]
    again = browser.do("open", site.page)
    browser.wait_until("signed-in", again)
    browser.order(again, "Tea")


def test_signing_out_elsewhere_leaves_this_browser_alone_with_a_new_cookie(
    site: Site, service: Running, browser: Browser
) -> None:
    tab = browser.do("open", site.page)
    browser.wait_until("signed-out", tab)
    browser.sign_in(tab)
    browser.wait_until("signed-in", tab)
    origin = {"Origin": site.page.rstrip("/")}
    sign_in = {"grant_type": "password", "client_id": "page", "username": USERNAME, "password": PASSWORD}
    _, _, received = fetch(f"{site.issuer}/token", data=sign_in, headers=origin)
    headers = {name.lower(): value for name, value in received.items()}
    (copied,) = [cookie["value"] for cookie in browser.do("cookies")]
    browser.do("click", tab, "#sign-out-elsewhere")
    browser.do("wait", tab, "#notice:text('You are signed out everywhere else.')")
    refresh = {"grant_type": "refresh_token", "client_id": "page"}
    for cookie in (headers["set-cookie"].split(";")[0], f"authmint-refresh-page={copied}"):
        assert 400 == fetch(f"{site.issuer}/token", data=refresh, headers=origin | {"Cookie": cookie})[0]
    browser.do("reload", tab)
    browser.wait_until("signed-in", tab)
    browser.order(tab, "Tea")


def test_signing_out_elsewhere_succeeds_although_a_change_made_the_token_for_it_worthless(
    site: Site, service: Running, browser: Browser
) -> None:
    """The kind: a request of session.js that is refused by the epoch of its token, and not repeated."""
    tab = browser.do("open", site.page)
    browser.wait_until("signed-out", tab)
    browser.sign_in(tab)
    browser.wait_until("signed-in", tab)
    browser.do("evaluate", tab, REFUSE_ONCE)
    browser.do("click", tab, "#sign-out-elsewhere")
    browser.do("wait", tab, "#notice:text('You are signed out everywhere else.')")
    assert 2 == browser.do("evaluate", tab, "asked")


def test_a_password_that_is_changed_in_a_page_leaves_its_tabs_signed_in_with_a_new_cookie(
    site: Site, service: Running, browser: Browser
) -> None:
    tabs = [browser.do("open", site.page) for _ in range(2)]
    browser.wait_until("signed-out", *tabs)
    browser.sign_in(tabs[0])
    browser.wait_until("signed-in", *tabs)
    origin = {"Origin": site.page.rstrip("/")}
    assert "wrong_password" == browser.do("evaluate", tabs[0], change_password("no password of hers", OTHER_PASSWORD))
    (copied,) = [cookie["value"] for cookie in browser.do("cookies")]
    assert "signed-in" == browser.do("evaluate", tabs[0], change_password(PASSWORD, OTHER_PASSWORD))
    refresh = {"grant_type": "refresh_token", "client_id": "page"}
    assert 400 == fetch(f"{site.issuer}/token", data=refresh, headers=origin | {"Cookie": f"authmint-refresh-page={copied}"})[0]
    for tab in tabs:
        browser.do("reload", tab)
        browser.wait_until("signed-in", tab)
    # For the other tests.
    assert "signed-in" == browser.do("evaluate", tabs[1], change_password(OTHER_PASSWORD, PASSWORD))


def test_no_token_for_orders_opens_the_account_and_none_for_the_account_is_sent_to_orders(
    site: Site, service: Running, browser: Browser
) -> None:
    tab = browser.do("open", site.page)
    browser.wait_until("signed-out", tab)
    browser.sign_in(tab)
    browser.do("wait", tab, f"#name:text('{USERNAME}')")
    browser.order(tab, "Tea")
    sent = {(origin, audience) for origin, audience in browser.do("notes")["audiences"]}
    assert {(site.orders, "orders"), (site.issuer, site.issuer)} == sent


def test_no_script_sees_the_refresh_token_and_orders_is_never_sent_it(site: Site, service: Running, browser: Browser) -> None:
    tab = browser.do("open", site.page)
    browser.wait_until("signed-out", tab)
    browser.sign_in(tab)
    browser.wait_until("signed-in", tab)
    (cookie,) = browser.do("cookies")
    assert (True, "Strict", "/", False) == (cookie["httpOnly"], cookie["sameSite"], cookie["path"], cookie["secure"])
    assert "" == browser.do("evaluate", tab, "document.cookie")
    assert [0, 0] == browser.do("evaluate", tab, "[localStorage.length, sessionStorage.length]")
    assert cookie["value"] not in service.said


def test_a_wrong_password_is_shown_and_another_page_gets_no_token(site: Site, service: Running, browser: Browser) -> None:
    tab = browser.do("open", site.page)
    browser.wait_until("signed-out", tab)
    browser.sign_in(tab, "wrong")
    browser.do("wait", tab, "#sign-in-problem:has-text('The username or the password is wrong.')")
    browser.sign_in(tab)
    browser.wait_until("signed-in", tab)
    # This page has another host, so it is another site: the browser sends no cookie, and the Origin is refused.
    elsewhere = browser.do("open", site.page.replace("127.0.0.1", "localhost"))
    post = f"fetch('{site.issuer}/revoke', {{method: 'POST', mode: 'no-cors', credentials: 'include', body: {CLIENT_FORM}}})"
    refused = len(log_lines(service, "request.refused"))
    assert "opaque" == browser.do("evaluate", elsewhere, f"{post}.then((answer) => answer.type)")
    assert refused < len(log_lines(service, "request.refused"))
    browser.do("close", elsewhere)
    # The token service's docs are no page of this client, though of the same site, so that the browser sends the cookie along.
    docs = browser.do("open", f"{site.issuer}/docs")
    ask = "fetch('/token', {method: 'POST', body: new URLSearchParams({grant_type: 'refresh_token', client_id: 'page'})})"
    assert "invalid_request" == browser.do(
        "evaluate", docs, f"{ask}.then((answer) => answer.json()).then(({{error}}) => error)"
    )
    browser.do("reload", tab)
    browser.wait_until("signed-in", tab)


def test_while_the_token_service_is_unavailable_the_person_stays_signed_in_and_orders_work(
    tmp_path: Path, browser: Browser
) -> None:
    check_programs()
    site = Site(tmp_path, access_token_ttl=15)
    with site.token_service() as first, site.services():
        tabs = [browser.do("open", site.page) for _ in range(2)]
        browser.wait_until("signed-out", *tabs)
        browser.sign_in(tabs[0])
        browser.wait_until("signed-in", *tabs)
        with site.hidden_table("sessions"):
            for tab in tabs:
                browser.do("wait", tab, "body[data-offline][data-state=signed-in]")
        for tab in tabs:
            browser.do("wait", tab, "body:not([data-offline])")
        assert 503 in {line["status"] for line in log_lines(first, "request.refused")}
        first.stop()
        # The token is still good, and orders verifies it by itself.
        browser.order(tabs[1], "Tea in an outage")
        for tab in tabs:
            browser.do("wait", tab, "body[data-offline]")
            assert "unavailable; trying again" == browser.do("text", tab, "#token-service")
        browser.do("wait", tabs[0], "#access-token:text('none at the moment')")
        browser.do("fill", tabs[0], "#item", "Too late")
        browser.do("click", tabs[0], "#place button")
        browser.do("wait", tabs[0], "#order-problem:text('The token service cannot be reached')")
        # A tab opened now cannot know whether someone is signed in, and shows neither.
        browser.do("reload", tabs[1])
        browser.do("wait", tabs[1], "body[data-offline][data-state=starting]")
        browser.do("wait", tabs[1], "#starting:text('cannot be reached')")
        with site.token_service():
            browser.wait_until("signed-in", *tabs)
            for tab in tabs:
                browser.do("wait", tab, "body:not([data-offline])")
            browser.order(tabs[0], "Tea after all")
        assert "signed-out" not in browser.do("notes")["states"][2:]
        # The token service cannot be told of this sign-out. It hears of it when it is there again, from a page opened since.
        browser.do("click", tabs[0], "#sign-out")
        browser.wait_until("signed-out", *tabs)
        browser.do("wait", tabs[0], "#notice:has-text('did not confirm it')")
        browser.do("reload", tabs[1])
        browser.wait_until("signed-out", tabs[1])
        assert 1 == len(browser.do("cookies"))
        with site.token_service() as third:
            browser.do("wait", tabs[1], "body:not([data-offline])")
            assert [] == browser.do("cookies")
            assert 1 == len(log_lines(third, "session.revoked"))
            assert [] == log_lines(third, "token.issued")


def test_a_real_browser_takes_the_cookie_of_production_with_its_prefix(tmp_path: Path, browser: Browser) -> None:
    check_programs()
    keys = {
        f"AUTHMINT_{name}_KEYS": f"1:{base64.b64encode(secrets.token_bytes(32)).decode()}"
        for name in ("KEY_ENCRYPTION", "REFRESH_TOKEN")
    }
    with ExitStack() as stack:
        dsn = stack.enter_context(holding_embedded_postgres(tmp_path / "database"))
        # On loopback this browser takes it over http as well.
        site = Site(tmp_path, LIFETIME, AUTHMINT_ENVIRONMENT="production", AUTHMINT_DATABASE_URL=dsn, **keys)
        site.migrate()
        stack.enter_context(site.token_service())
        stack.enter_context(site.services())
        tab = browser.do("open", site.page)
        browser.wait_until("signed-out", tab)
        browser.sign_in(tab)
        browser.wait_until("signed-in", tab)
        (cookie,) = browser.do("cookies")
        assert ("__Host-authmint-refresh-page", True, True, "Strict") == tuple(
            cookie[name] for name in ("name", "secure", "httpOnly", "sameSite")
        )
        browser.do("reload", tab)
        browser.wait_until("signed-in", tab)
        browser.do("click", tab, "#sign-out")
        browser.wait_until("signed-out", tab)
        browser.wait_until_confirmed(tab)
        assert [] == browser.do("cookies")


def test_the_page_comes_with_a_strict_policy_and_nothing_else_is_served(site: Site, service: Running) -> None:
    status, _, headers = fetch(site.page)
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert (200, "'none'", "'self'", "'self'") == (status, *(policy[f"{kind}-src"] for kind in ("default", "script", "style")))
    for path in ("serve.py", "README.md", "../demo.py", "..%2fdemo.py", "/etc/passwd", "", "x"):
        expected = 200 if path == "" else 404
        assert expected == fetch(site.page + path)[0], path
