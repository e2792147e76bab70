"""Which pages may send requests and read responses: those of the client's list, compared to the character."""

import httpx2
import pytest

from authmint_service.change_feed import ChangeKind
from authmint_service.web_origins import are_of_different_sites
from tests.service.browser import PAGE, REFUSED, add_client, error_of, signed_in
from tests.service.conftest import Service, StartService

pytestmark = pytest.mark.anyio

ORIGINS = {
    "missing": None, "null": "null", "suffix": f"{PAGE}.evil.example", "prefix": "https://evil-app.auth.example",
    "subdomain": "https://x.app.auth.example", "parent": "https://auth.example", "port": f"{PAGE}:8443",
    "default port": f"{PAGE}:443", "scheme": "http://app.auth.example", "case": PAGE.upper(), "path": f"{PAGE}/",
    "pattern": "*", "empty": "", "two": f"{PAGE}, {PAGE}", "space": f"{PAGE} https://evil.example",
}  # fmt: skip


@pytest.mark.parametrize("origin", ORIGINS.values(), ids=ORIGINS.keys())
async def test_requests_from_any_other_page_have_no_effect_whatever_their_cookie(service: Service, origin: str | None) -> None:
    user = await service.add_account()
    browser = await signed_in(service, user)
    before = dict(browser.cookies)
    browser.origin = origin
    for answer in (
        await browser.refresh(), await browser.sign_in(user), await browser.sign_out(), await browser.sign_out(token="x"),
    ):  # fmt: skip
        assert REFUSED == error_of(answer)
        assert "set-cookie" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers
    browser.origin = PAGE
    assert before == browser.cookies
    assert 200 == (await browser.refresh()).status_code


async def test_two_origin_headers_count_as_none(service: Service) -> None:
    browser = await signed_in(service)
    headers = [("Origin", PAGE), ("Origin", PAGE), ("Cookie", f"{browser.name}={browser.refresh_token}")]
    form = {"grant_type": "refresh_token", "client_id": browser.client.client_id}
    assert REFUSED == error_of(await service.http.post("/token", data=form, headers=headers))


async def test_another_clients_page_on_the_list_of_that_client_alone_is_another_page(service: Service) -> None:
    other_page = "https://other.auth.example"
    browser, other = await signed_in(service), await signed_in(service, origins=(PAGE, other_page))
    browser.origin = other.origin = other_page
    assert REFUSED == error_of(await browser.refresh())
    assert 200 == (await other.refresh()).status_code


async def test_pages_of_cookie_clients_may_send_cookies_where_cookies_are_accepted_and_nowhere_else(service: Service) -> None:
    browser = await signed_in(service)
    answers = [await browser.refresh(), await browser.refresh(scope="admin"), await browser.sign_out()]
    for answer in answers:
        assert (PAGE, "true") == tuple(answer.headers[f"access-control-allow-{what}"] for what in ("origin", "credentials"))
        assert "Origin" == answer.headers["vary"]
    elsewhere = await service.http.get("/account/v1", headers={"Origin": PAGE})
    assert (401, PAGE) == (elsewhere.status_code, elsewhere.headers["access-control-allow-origin"])
    assert "access-control-allow-credentials" not in elsewhere.headers


async def answers_to(service: Service, origin: str | None) -> list[httpx2.Response]:
    """Return responses to a preflight and to some requests from a page of `origin`."""
    page = {} if origin is None else {"Origin": origin}
    asked = {**page, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    return [
        await service.http.options("/token", headers=asked), await service.http.post("/token", headers=page),
        await service.http.post("/revoke", headers=page), await service.http.get("/livez", headers=page),
    ]  # fmt: skip


@pytest.mark.parametrize("origin", ORIGINS.values(), ids=ORIGINS.keys())
async def test_no_other_page_may_read_anything(service: Service, origin: str | None) -> None:
    await add_client(service)
    for answer in await answers_to(service, origin):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_a_page_listed_in_the_settings_may_read_responses_and_send_no_cookie(start_service: StartService) -> None:
    service = await start_service(cors_origins="https://plain.example")
    await add_client(service)
    for answer in await answers_to(service, "https://plain.example"):
        assert ("https://plain.example", "Origin") == (answer.headers["access-control-allow-origin"], answer.headers["vary"])
        assert "access-control-allow-credentials" not in answer.headers


async def test_a_preflight_lists_methods_and_headers(service: Service) -> None:
    await add_client(service)
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "authorization"}
    answer = await service.http.options("/account/v1/sessions", headers=asked)
    assert (204, PAGE) == (answer.status_code, answer.headers["access-control-allow-origin"])
    assert "DELETE" in answer.headers["access-control-allow-methods"]
    assert "Authorization" in answer.headers["access-control-allow-headers"]


@pytest.mark.own_service
async def test_a_new_client_takes_effect_with_its_change_and_so_does_a_disabled_one(service: Service) -> None:
    page = {"Origin": "https://new.auth.example"}
    assert "access-control-allow-origin" not in (await service.http.get("/livez", headers=page)).headers
    client = await add_client(service, origins=(page["Origin"],))
    for is_enabled in (True, False):
        statement = "UPDATE authmint.clients SET enabled = $2 WHERE client_id = $1"
        await service.change(ChangeKind.ORIGINS, client.client_id, statement, client.client_id, is_enabled)
        answer = await service.http.get("/livez", headers=page)
        assert is_enabled == ("access-control-allow-origin" in answer.headers)


@pytest.mark.parametrize(
    ("page", "issuer", "differ"),
    [
        ("https://app.example.com", "https://auth.example.com", False),
        ("https://app.example.com:8443", "https://example.com", False),
        ("https://example.com", "https://example.com/auth", False), ("http://127.0.0.1:8003", "http://127.0.0.1:8000", False),
        ("http://localhost:8003", "http://localhost:8000", False), ("http://[::1]:8003", "http://[::1]:8000", False),
        ("http://app.example.com", "https://auth.example.com", True),
        ("https://app.example.org", "https://auth.example.com", True),
        ("http://localhost:8003", "http://127.0.0.1:8000", True), ("http://127.0.0.2:1", "http://127.0.0.1:1", True),
        ("http://10.1.0.1", "http://10.2.0.1", True), ("http://app.localhost", "http://auth.localhost", True),
    ],
)  # fmt: skip
def test_pages_that_a_browser_would_not_send_the_cookie_from_are_recognised(page: str, issuer: str, *, differ: bool) -> None:
    assert differ == are_of_different_sites(page, issuer)
