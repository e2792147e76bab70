"""`session.js` in a real browser, with responses that no token service sends, and with refusals, outages and odd requests.

Kinds: a response that is not what it seems, taken as what was hoped for; a failure in the middle of a sign-out that leaves the
person signed in; a wrapper that does less than what it wraps; a timer without a bound.
"""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.browser.scripted_site import HTML, Answer, ScriptedSite, scripted_site
from tests.browser.tabs import Browser, check_programs, open_browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.clients,
    pytest.mark.timeout(120),
    pytest.mark.xdist_group("browser"),
]

PRELUDE = """
    const { Session, OAuthError, SignedOutError, UnavailableError } = await import("/session.js");
    const sessions = globalThis.sessions ??= {};
    const open = (clientId) => sessions[clientId] ??= new Session({ issuer: location.origin, clientId });
    const outcome = (promise) => promise.then((value) => value?.status ?? "done", (error) => error.constructor.name);
    const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    const page = open("page");
"""


def as_json(status: int, content: Any, **headers: str) -> Answer:
    return status, {"Content-Type": "application/json"} | headers, json.dumps(content)


def token(text: str = "t", **changes: Any) -> Answer:
    members = {"access_token": text, "token_type": "Bearer", "expires_in": 300} | changes
    return as_json(200, {name: value for name, value in members.items() if value is not ...})


GOOD = token()
KEPT = as_json(200, {"this_session": "kept"})
OUTAGE = as_json(503, {"error": "temporarily_unavailable"})
NO_RESPONSE: Answer = (0, {}, "")
OTHERS = "/account/v1/sessions/revoke-others"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    check_programs()
    with open_browser() as browser:
        yield browser


@pytest.fixture
def site() -> Iterator[ScriptedSite]:
    with scripted_site() as site:
        site.answers |= {"/token": GOOD, "/revoke": as_json(200, {}), OTHERS: KEPT, "/api": (200, {}, "")}
        yield site


@pytest.fixture
def tab(browser: Browser, site: ScriptedSite) -> Iterator[int]:
    tab: int = browser.do("open", site.url)
    yield tab
    browser.do("close", tab)


def run(browser: Browser, tab: int, code: str) -> Any:
    """Run code in a tab, which finds what the prelude defines."""
    return browser.do("evaluate", tab, f"(async () => {{ {PRELUDE} {code} }})().then((value) => value ?? null)")


NOT_TOKENS: dict[str, Answer] = {
    "a captive portal": HTML,
    "no content": (204, {}, ""),
    "an empty body": (200, {}, ""),
    "JSON that is no object": as_json(200, ["t"]),
    "null": as_json(200, None),
    "a text": as_json(200, "t"),
    "an endless number of days": token(expires_in=1e300),
    "another status": as_json(201, {"access_token": "t", "token_type": "Bearer", "expires_in": 300}),
    "no lifetime": as_json(200, {"access_token": "t", "token_type": "Bearer"}),
    "a lifetime alone": token(access_token=...),
    "no type": token(token_type=...),
    "another type": token(token_type="DPoP"),
    "a lifetime of null": token(expires_in=None),
    "a lifetime that is a text": token(expires_in="300"),
    "no life": token(expires_in=0),
    "a negative lifetime": token(expires_in=-300),
    "an endless lifetime": (200, {}, '{"access_token": "t", "token_type": "Bearer", "expires_in": 1e999}'),
    "an empty token": token(""),
    "a token of two lines": token("t\r\nX-Other: 1"),
    "a token that is a number": token(access_token=1),
    "a redirect to a token": (307, {"Location": "/good"}, ""),
    "a redirect to a page": (302, {"Location": "/"}, ""),
    "a page that is refused": (403, {"Content-Type": "text/html"}, "invalid_grant"),
    "a refusal that is none": as_json(400, {"error": {"invalid_grant": True}}),
    "a wrong address": (404, {}, ""),
    "a network that wants a sign-in": (511, {}, ""),
    "no response": NO_RESPONSE,
}


def test_what_is_no_token_signs_no_one_in_and_is_requested_again_at_growing_intervals(
    browser: Browser, site: ScriptedSite, tab: int
) -> None:
    clients = {f"c{number}": answer for number, answer in enumerate(NOT_TOKENS.values())}
    site.answers |= {f"/token {client}": answer for client, answer in clients.items()} | {"/good": GOOD}
    found = run(browser, tab, f"""
        const found = {{}};
        const all = {json.dumps(list(clients))}.map(open);
        all.forEach((session) => session.start());
        await pause(4000);
        for (const session of all) {{
            const before = [session.state, session.isOffline, await outcome(session.accessToken())];
            const signIn = await outcome(session.signIn("dora", "secret"));
            found[session.lock.split(" ")[1]] = [...before, signIn, session.state, session.expiresAt];
        }}
        return found;
    """)  # fmt: skip
    for name, client in zip(NOT_TOKENS, clients, strict=True):
        assert ["starting", True, "UnavailableError", "UnavailableError", "starting", None] == found[client], name
        # At the start, after 1 and 3 seconds, once for the token that was asked for, and the sign-in.
        assert 3 <= len(site.of("/token", client)) <= 5, name
    assert [] == site.of("/good")


def test_a_refusal_is_a_refusal_and_ends_the_session_only_if_it_is_of_the_grant(
    browser: Browser, site: ScriptedSite, tab: int
) -> None:
    site.answers |= {
        "/token ended": as_json(400, {"error": "invalid_grant", "error_description": "It was revoked."}),
        "/token client": as_json(401, {"error": "invalid_client"}),
        "/token late": as_json(429, {"error": "invalid_grant"}),
    }
    found = run(browser, tab, """
        const found = {};
        for (const session of ["ended", "client", "late"].map(open)) {
            await session.start();
            const error = await session.signIn("dora", "wrong").catch((error) => error);
            found[session.lock.split(" ")[1]] = [session.state, error.constructor.name, error.code ?? null, error.message];
        }
        return found;
    """)  # fmt: skip
    assert {
        "ended": ["signed-out", "OAuthError", "invalid_grant", "It was revoked."],
        "client": ["starting", "OAuthError", "invalid_client", "invalid_client"],
        "late": ["starting", "UnavailableError", None, "The token service responds 429."],
    } == found


REFUSALS: dict[str, dict[str, Answer | list[Answer]]] = {
    "the others are refused": {OTHERS: as_json(403, {"code": "insufficient_scope", "detail": "No."})},
    "the token is refused": {OTHERS: as_json(401, {"code": "invalid_token", "detail": "No."})},
    "an outage": {OTHERS: OUTAGE},
    "a captive portal": {OTHERS: HTML},
    "no response": {OTHERS: NO_RESPONSE},
    "an empty response": {OTHERS: (204, {}, "")},
    "no token for the account": {"/token": as_json(400, {"error": "invalid_target"})},
    "no token at all": {"/token": OUTAGE},
}


@pytest.mark.parametrize("answers", REFUSALS.values(), ids=list(REFUSALS))
def test_a_sign_out_everywhere_that_is_refused_ends_this_session_all_the_same(
    browser: Browser, site: ScriptedSite, tab: int, answers: dict[str, Any]
) -> None:
    other: int = browser.do("open", site.url)
    run(browser, other, "await page.start();")
    run(browser, tab, 'await page.signIn("dora", "secret");')
    site.answers |= answers
    error, *state = run(browser, tab, """
        const error = await outcome(page.signOut({ everywhere: true }));
        return [error, page.state, page.expiresAt, await outcome(page.accessToken()), localStorage.length];
    """)  # fmt: skip
    assert error in {"OAuthError", "UnavailableError"}
    assert ["signed-out", None, "SignedOutError", 0] == state
    assert 1 == len(site.of("/revoke"))
    assert ["signed-out", "SignedOutError"] == run(
        browser, other, "await pause(100); return [page.state, await outcome(page.accessToken())];"
    )
    browser.do("close", other)


def test_a_token_for_the_account_that_is_refused_is_replaced_before_others_are_signed_out(
    browser: Browser, site: ScriptedSite, tab: int
) -> None:
    site.answers |= {
        "/token": [token("signed-in"), token("old"), token("new")],
        OTHERS: [as_json(401, {"code": "invalid_token", "detail": "No."}), KEPT],
    }
    assert ["done", "signed-in"] == run(
        browser, tab, 'await page.signIn("dora", "x"); return [await outcome(page.signOutElsewhere()), page.state];'
    )
    assert ["Bearer old", "Bearer new"] == [one.headers["authorization"] for one in site.of(OTHERS)]


NOT_REVOKED: dict[str, Answer] = {
    "an outage": OUTAGE,
    "a captive portal": HTML,
    "no content": (204, {}, ""),
    "an empty body": (200, {}, ""),
    "no response": NO_RESPONSE,
    "an error in a 200": as_json(200, {"error": "temporarily_unavailable"}),
    "a problem in a 200": as_json(200, {"code": "not_now", "detail": "Later."}),
    "a redirect": (302, {"Location": "/"}, ""),
    "a refusal": as_json(401, {"error": "invalid_client"}),
}


@pytest.mark.parametrize("answer", NOT_REVOKED.values(), ids=list(NOT_REVOKED))
def test_a_sign_out_that_the_token_service_does_not_confirm_holds_and_is_repeated(
    browser: Browser, site: ScriptedSite, tab: int, answer: Answer
) -> None:
    site.answers["/revoke"] = answer
    ended = run(browser, tab, """
        await page.signIn("dora", "secret");
        return [await outcome(page.signOut()), page.state, await outcome(page.accessToken()), localStorage.length];
    """)  # fmt: skip
    assert ended[0] in {"UnavailableError", "OAuthError"}
    assert ["signed-out", "SignedOutError", 1] == ended[1:]
    tokens = len(site.of("/token"))
    # A page that is opened now has the cookie still.
    browser.do("reload", tab)
    assert ["signed-out", True, 1] == run(
        browser, tab, "await page.start(); return [page.state, page.isOffline, localStorage.length];"
    )
    site.answers["/revoke"] = as_json(200, {})
    revoked = len(site.of("/revoke"))
    assert ["signed-out", False] == run(browser, tab, """
        while (localStorage.length > 0) await pause(50);
        await pause(300);
        return [page.state, page.isOffline];
    """)  # fmt: skip
    assert (tokens, revoked + 1) == (len(site.of("/token")), len(site.of("/revoke")))


def test_who_signs_in_after_such_a_sign_out_is_signed_in_and_the_old_session_is_revoked_first(
    browser: Browser, site: ScriptedSite, tab: int
) -> None:
    site.answers["/revoke"] = [OUTAGE, OUTAGE, as_json(200, {})]
    run(browser, tab, 'await page.signIn("dora", "secret"); await outcome(page.signOut());')
    other: int = browser.do("open", site.url)
    run(browser, other, "page.start();")
    run(browser, tab, 'while ((await outcome(page.signIn("emil", "secret"))) !== "done") await pause(50);')
    paths = [one.path for one in site.sent if one.path in {"/token", "/revoke"}]
    assert ["/token", *["/revoke"] * (len(paths) - 2), "/token"] == paths
    assert 3 <= len(site.of("/revoke"))
    for one in (tab, other):
        assert ["signed-in", 0] == run(browser, one, "await pause(200); return [page.state, localStorage.length];")
    browser.do("close", other)


def test_a_sign_out_waits_for_no_tab_that_hangs(browser: Browser, site: ScriptedSite, tab: int) -> None:
    assert ["signed-out", "UnavailableError", 1] == run(browser, tab, """
        await page.signIn("dora", "secret");
        const { timeout } = AbortSignal;
        AbortSignal.timeout = (ms) => timeout.call(AbortSignal, ms / 50);
        navigator.locks.request(page.lock, () => new Promise(() => {}));
        const signedOut = page.signOut();
        await pause(50);
        return [page.state, await outcome(signedOut), localStorage.length];
    """)  # fmt: skip


def test_a_refresh_that_was_under_way_does_not_undo_a_sign_out(browser: Browser, site: ScriptedSite, tab: int) -> None:
    site.answers["/revoke"] = OUTAGE
    assert "signed-out" == run(browser, tab, """
        await page.signIn("dora", "secret");
        await outcome(page.signOut());
        const token = { text: "late", freshUntil: Date.now() + 60_000, expiresAt: Date.now() + 60_000 };
        new BroadcastChannel(page.lock).postMessage({ what: "refreshed", token, at: Date.now() + 1000 });
        await pause(100);
        return page.state;
    """)  # fmt: skip


GARBAGE = [
    "null", "undefined", "5", "'signed-out'", "[]", "{ retryAt: 'soon' }", "{ retryAt: NaN }", "{ retryAt: {} }",
    "{ what: 'signed-out', token: null, at: Infinity }", "{ what: 'signed-out', token: null, at: 1e300 }",
    "{ what: 'refreshed', token: { text: 'a\\nb', ...fresh }, at: now + 1000 }",
    "{ what: 'refreshed', token: { text: 'x', freshUntil: 1e300, expiresAt: 1e300 }, at: 1e17 }",
    "{ what: 'refreshed', token: { text: 'x', ...fresh }, account: 5, at: 1e17 }",
    "{ account: { text: 'a\\nb', ...fresh }, at: 0 }",
]  # fmt: skip


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_message_that_no_tab_sends_changes_nothing(browser: Browser, site: ScriptedSite, tab: int, garbage: str) -> None:
    """Not what this tab has, and not what the next sign-out does. The browser's end finds errors that no one has caught."""
    attempts, *found = run(browser, tab, f"""
        await page.signIn("dora", "secret");
        const now = Date.now();
        const fresh = {{ freshUntil: now + 60_000, expiresAt: now + 60_000 }};
        let attempts = 0;
        const {{ request }} = navigator.locks;
        navigator.locks.request = (...parameters) => (attempts += 1, request.apply(navigator.locks, parameters));
        let problems = 0;
        globalThis.addEventListener("error", (event) => (problems += 1, event.preventDefault()));
        new BroadcastChannel(page.lock).postMessage({garbage});
        await pause(500);
        const before = [page.state, await page.accessToken(), page.isOffline, problems];
        return [attempts, ...before, await outcome(page.signOut()), page.state];
    """)  # fmt: skip
    assert ["signed-in", "t", False, 0, "done", "signed-out"] == found
    assert attempts <= 1


def test_a_refusal_without_a_code_of_its_own_has_that_of_oauth(browser: Browser, site: ScriptedSite, tab: int) -> None:
    site.answers["/token"] = as_json(400, {"code": None, "error": "invalid_grant", "detail": {"a": 1}})
    assert ["signed-out", "invalid_grant", "invalid_grant"] == run(browser, tab, """
        await page.start();
        const error = await page.signIn("dora", "secret").catch((error) => error);
        return [page.state, error.code, error.message];
    """)  # fmt: skip


def test_the_token_for_the_account_goes_to_the_token_service_alone(browser: Browser, site: ScriptedSite, tab: int) -> None:
    """Kind: a secret goes elsewhere. A path is one: nothing that changes the host."""
    port = urlsplit(site.url).port
    elsewhere = [
        f"@localhost:{port}/api",
        f"/../..//localhost:{port}/api",
        ".localhost/api",
        f"//localhost:{port}/api",
        "",
        "api",
    ]
    found = run(browser, tab, f"""
        await page.signIn("dora", "secret");
        const found = [];
        for (const path of {json.dumps(elsewhere)}) found.push(await outcome(page.fetchAccount(path)));
        return found;
    """)  # fmt: skip
    assert "TypeError" == found[0] == found[2] == found[4] == found[5]
    assert [] == [one.headers["host"] for one in site.sent if "localhost" in one.headers["host"]]


def test_no_timer_is_without_a_bound(browser: Browser, site: ScriptedSite, tab: int) -> None:
    site.answers |= {
        "/token long": token(expires_in=10_000_000),
        "/token later": as_json(503, {}, **{"Retry-After": "99999999"}),
        "/token date": as_json(503, {}, **{"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}),
        "/token past": as_json(503, {}, **{"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}),
        "/token odd": as_json(503, {}, **{"Retry-After": "soon"}),
        "/token told": OUTAGE,
    }
    found = run(browser, tab, """
        const found = {};
        const { setTimeout } = globalThis;
        for (const session of ["long", "later", "date", "past", "odd", "told"].map(open)) {
            const pauses = [];
            globalThis.setTimeout = (work, ms) => (pauses.push(ms), setTimeout(work, ms));
            await session.start();
            if (session === sessions.told) {
                const received = new Promise((resolve) => session.addEventListener("change", resolve, { once: true }));
                new BroadcastChannel(session.lock).postMessage({ retryAt: 1e18 });
                await received;
            }
            globalThis.setTimeout = setTimeout;
            found[session.lock.split(" ")[1]] = pauses.at(-1);
        }
        return found;
    """)  # fmt: skip
    assert 3_600_000 <= found["long"] <= 3_600_100
    assert all(290_000 <= found[name] <= 300_100 for name in ("later", "date", "told"))
    assert all(500 <= found[name] <= 1_100 for name in ("past", "odd"))


def test_a_clock_that_was_set_back_does_not_delay_the_next_attempt(browser: Browser, site: ScriptedSite, tab: int) -> None:
    site.answers["/token"] = [as_json(503, {}, **{"Retry-After": "60"}), GOOD]
    assert ["starting", "signed-in"] == run(browser, tab, """
        await page.start();
        const before = page.state;
        const { now } = Date;
        Date.now = () => now() - 86_400_000;
        await page.start();
        Date.now = now;
        return [before, page.state];
    """)  # fmt: skip


def test_a_message_of_another_version_changes_nothing(browser: Browser, site: ScriptedSite, tab: int) -> None:
    assert ["signed-in", "t"] == run(browser, tab, """
        await page.signIn("dora", "secret");
        const channel = new BroadcastChannel(page.lock);
        const at = Date.now() + 1000;
        const fresh = { freshUntil: at * 2, expiresAt: at * 2 };
        const endless = { ...fresh, text: "x", expiresAt: NaN };
        for (const token of [{}, { text: "x" }, { text: 1, ...fresh }, endless, "x", undefined]) {
            channel.postMessage({ what: "refreshed", token, at });
            channel.postMessage({ what: "received", token, at });
        }
        channel.postMessage({ what: "refreshed", token: { text: "x", ...fresh } });
        channel.postMessage({ what: "signed-out", token: null, at: "soon" });
        channel.postMessage({ unknown: true });
        await pause(200);
        return [page.state, await page.accessToken()];
    """)  # fmt: skip


REQUESTS = {
    "an address": "['/api']",
    "a URL": "[new URL('/api', location.href)]",
    "a Request with headers": "[new Request('/api', { headers: { 'X-Own': '1' } })]",
    "a Request with a body": "[new Request('/api', { method: 'POST', headers: { 'Content-Type': 'text/x' }, body: 'abc' })]",
    "a Request and options": "[new Request('/api', { headers: { 'X-Own': '1' } }), { method: 'PUT', body: 'abc' }]",
    "options instead of a Request's headers": "[new Request('/api', { headers: { 'X-A': '1' } }), { headers: { 'X-B': '2' } }]",
    "headers in an object": "['/api', { headers: { 'X-Own': '1' } }]",
    "headers in a list": "['/api', { headers: [['X-Own', '1'], ['X-Own', '2']] }]",
    "headers of their own class": "['/api', { headers: new Headers({ 'X-Own': '1' }) }]",
    "a form": "['/api', { method: 'POST', body: new URLSearchParams({ a: '1' }) }]",
    "bytes": "['/api', { method: 'POST', body: new TextEncoder().encode('abc') }]",
    "a blob": "['/api', { method: 'DELETE', body: new Blob(['abc'], { type: 'text/x' }) }]",
    "no options": "['/api', undefined]",
}


def test_fetch_is_fetch_with_a_token_and_repeats_the_whole_request(browser: Browser, site: ScriptedSite, tab: int) -> None:
    run(browser, tab, 'await page.signIn("dora", "secret");')
    for number, (name, parameters) in enumerate(REQUESTS.items()):
        # Each request is refused once, and sent again with another token.
        site.answers |= {"/token": token(f"t{number}"), "/api": [(200, {}, ""), (401, {}, ""), (200, {}, "x")]}
        site.sent.clear()
        assert [200, 200] == run(browser, tab, f"""
            const {{ now }} = Date;
            Date.now = () => now() + {number * 40_000};
            const own = await fetch(...{parameters});
            const ours = await page.fetch(...{parameters});
            Date.now = now;
            return [own.status, ours.status];
        """), name  # fmt: skip
        plain, *ours = site.of("/api")
        tokens = [one.headers.pop("authorization") for one in ours]
        assert (2, f"Bearer t{number}") == (len(set(tokens)), tokens[1]), name
        assert [plain, plain] == ours, name


def test_fetch_refuses_what_fetch_refuses_and_is_aborted_as_it_is(browser: Browser, site: ScriptedSite, tab: int) -> None:
    site.answers["/gone"] = NO_RESPONSE
    for parameters in (
        "['http://']",
        "['/api', { method: 'GET', body: 'x' }]",
        "['/api', { headers: { 'a b': '' } }]",
        "['/gone']",
    ):
        own, ours = run(browser, tab, f"""
            await page.signIn("dora", "secret");
            return [await outcome(fetch(...{parameters})), await outcome(page.fetch(...{parameters}))];
        """)  # fmt: skip
        assert own == ours == "TypeError", parameters
    # While it waits for a token, too: another tab has the lock.
    assert ["AbortError", "TimeoutError", "sorry"] == run(browser, tab, """
        const waiting = open("waiting");
        navigator.locks.request(waiting.lock, () => new Promise(() => {}));
        const controller = new AbortController();
        setTimeout(() => controller.abort("sorry"), 50);
        const name = (promise) => promise.catch((error) => error.name ?? error);
        return Promise.all([
            name(waiting.fetch("/api", { signal: AbortSignal.abort() })),
            name(waiting.fetch(new Request("/api", { signal: AbortSignal.timeout(50) }))),
            name(waiting.fetch("/api", { signal: controller.signal })),
        ]);
    """)  # fmt: skip


def test_an_api_that_refuses_every_token_causes_one_refresh_and_its_response_is_the_result(
    browser: Browser, site: ScriptedSite, tab: int
) -> None:
    site.answers |= {
        "/token": [token(f"t{number}") for number in range(9)],
        "/api": (401, {}, "no"),
        "/account/v1": (401, {}, "no"),
    }
    statuses = run(browser, tab, """
        await page.signIn("dora", "secret");
        const statuses = [];
        for (let n = 0; n < 10; n += 1) {
            statuses.push(await outcome(page.fetch("/api")), await outcome(page.fetchAccount("/account/v1")));
        }
        return [statuses, page.state];
    """)  # fmt: skip
    assert [[401] * 20, "signed-in"] == statuses
    # The sign-in, the refresh, and the token for the account with its replacement.
    assert len(site.of("/token")) <= 4
    # During an outage the token that is good elsewhere is kept.
    site.answers |= {"/token": OUTAGE}
    assert [401, "signed-in", "done"] == run(browser, tab, """
        const { now } = Date;
        Date.now = () => now() + 40_000;
        const status = await outcome(page.fetch("/api"));
        Date.now = now;
        return [status, page.state, await outcome(page.accessToken())];
    """)  # fmt: skip


def test_requests_at_the_same_time_that_are_refused_are_all_repeated_with_one_new_token(
    browser: Browser, site: ScriptedSite, tab: int
) -> None:
    site.answers |= {"/token": [token("old"), token("new")], "/api": [*[(401, {}, "")] * 5, (200, {}, "")]}
    assert [200] * 5 == run(browser, tab, """
        await page.signIn("dora", "secret");
        return Promise.all([1, 2, 3, 4, 5].map(() => outcome(page.fetch("/api"))));
    """)  # fmt: skip
    assert 2 == len(site.of("/token"))


def test_after_a_401_of_a_revoked_session_the_person_is_signed_out(browser: Browser, site: ScriptedSite, tab: int) -> None:
    site.answers |= {"/token": [GOOD, as_json(400, {"error": "invalid_grant"})], "/api": (401, {}, "")}
    assert ["SignedOutError", "signed-out"] == run(
        browser, tab, 'await page.signIn("dora", "secret"); return [await outcome(page.fetch("/api")), page.state];'
    )
