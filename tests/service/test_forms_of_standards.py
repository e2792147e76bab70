"""The kind: forms that a standard requires or allows, and that a client, a proxy or a checker of another maker relies on."""

import httpx2
import pytest

from tests.service.asgi import ask
from tests.service.browser import PAGE, add_client
from tests.service.conftest import Service, StartService, open_http
from tests.service.routes import endpoints_of

pytestmark = pytest.mark.anyio

METADATA, OPENID = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
CLIENT_CREDENTIALS = {"grant_type": "client_credentials"}
ASSERTION = {
    "client_assertion": "a.b.c", "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
}  # fmt: skip


def error_of(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


# Metadata: RFC 8414.


@pytest.mark.parametrize("settings", [{}, {"grants": "client_credentials"}])
async def test_no_member_of_the_metadata_is_empty(start_service: StartService, settings: dict[str, str]) -> None:
    """RFC 8414, section 3.2: claims with zero elements must be omitted."""
    metadata = (await (await start_service(**settings)).http.get(METADATA)).json()
    assert [] == [name for name, value in metadata.items() if value in ([], {}, "", None)]


@pytest.mark.parametrize("issuer", ["https://example.com/auth", "https://example.com/auth/", "https://example.com/a/b"])
async def test_the_metadata_of_an_issuer_with_a_path_is_at_the_places_of_rfc_8414_and_of_openid(
    start_service: StartService, issuer: str
) -> None:
    """With the path, and without it behind a proxy that strips it."""
    service = await start_service(issuer=issuer)
    base, path = issuer.rstrip("/"), issuer.rstrip("/").removeprefix("https://example.com")
    for place in (METADATA + path, OPENID + path, path + METADATA, path + OPENID, METADATA, OPENID):
        answer = await service.http.get(place)
        assert 200 == answer.status_code, place
        assert (issuer, f"{base}/token") == (answer.json()["issuer"], answer.json()["token_endpoint"])


async def test_every_route_is_there_with_the_path_of_the_issuer_and_without_it(
    start_service: StartService, secret: str
) -> None:
    service = await start_service(issuer="https://example.com/auth")
    robot = await service.add_client(secret, resources=("orders",), default_resources=("orders",))
    form = CLIENT_CREDENTIALS | {"client_id": robot.client_id, "client_secret": secret}
    for path in ("", "/auth"):
        assert 200 == (await service.http.post(f"{path}/token", data=form)).status_code
        assert 200 == (await service.http.get(f"{path}/.well-known/jwks.json")).status_code
        assert 401 == (await service.http.get(f"{path}/account/v1")).status_code
    for path in ("/authtoken", "/auth", "/auth/auth/token", "/other/token"):
        assert 404 == (await service.http.post(path, data=form)).status_code


async def test_an_issuer_whose_path_is_that_of_a_route_hides_no_route(start_service: StartService) -> None:
    service = await start_service(issuer="https://example.com/account")
    assert 401 == (await service.http.get("/account/v1")).status_code
    for place in (METADATA + "/account", OPENID + "/account", "/account" + OPENID, OPENID):
        assert "https://example.com/account" == (await service.http.get(place)).json()["issuer"]


# Client authentication: RFC 6749, section 2.3; RFC 7521, section 4.2.


@pytest.mark.parametrize("path", ["/token", "/introspect", "/revoke"])
async def test_two_ways_of_authentication_are_refused_whichever_they_are(service: Service, secret: str, path: str) -> None:
    robot, spa = await service.add_client(secret), await service.add_client()
    form = CLIENT_CREDENTIALS | {"token": "x"}
    in_form = {"client_id": robot.client_id, "client_secret": secret}
    for two in (ASSERTION, {"client_assertion": "x"}, {"client_assertion_type": "x"}, {"client_secret": secret}):
        answer = await service.http.post(path, data=form | two, auth=(robot.client_id, secret))
        assert (400, "invalid_request") == error_of(answer), two
        assert (400, "invalid_request") == error_of(await service.http.post(path, data=form | in_form | ASSERTION))
    answer = await service.http.post(path, data=form | ASSERTION, auth=(spa.client_id, ""))
    assert (400, "invalid_request") == error_of(answer)


async def test_an_assertion_that_is_not_checked_is_not_ignored(service: Service) -> None:
    user, client = await service.add_account(), await service.add_client()
    assert (401, "invalid_client") == error_of(await service.sign_in(client, user, **ASSERTION))
    assert (401, "invalid_client") == error_of(await service.token(**CLIENT_CREDENTIALS, **ASSERTION))


# Challenges: RFC 9110, section 15.5.2; RFC 6749, section 5.2; RFC 6750, section 3.


async def test_every_401_of_a_client_has_a_challenge(service: Service, secret: str) -> None:
    robot, spa = await service.add_client(secret), await service.add_client()
    wrong = {"client_id": robot.client_id, "client_secret": "wrong"}
    bearer = {"Authorization": "Bearer x"}
    for path in ("/token", "/introspect", "/revoke"):
        form = CLIENT_CREDENTIALS | {"token": "x"}
        answers = [
            await service.http.post(path, data=form),
            await service.http.post(path, data=form | wrong),
            await service.http.post(path, data=form | {"client_id": robot.client_id}),
            await service.http.post(path, data=form | ASSERTION),
            await service.http.post(path, data=form, auth=(robot.client_id, "wrong")),
            await service.http.post(path, data=form, headers=bearer),
        ]
        if path == "/introspect":
            answers.append(await service.http.post(path, data=form | {"client_id": spa.client_id}))
        for answer in answers:
            assert (401, "invalid_client") == error_of(answer)
            assert answer.headers["www-authenticate"].startswith('Basic realm="')


async def test_a_page_gets_a_challenge_for_which_no_browser_asks_for_a_password(service: Service) -> None:
    form = CLIENT_CREDENTIALS | {"client_id": "nobody"}
    of_page = await service.http.post("/token", data=form, headers={"Origin": PAGE})
    assert (401, 'Form realm="token"') == (of_page.status_code, of_page.headers["www-authenticate"])
    with_basic = await service.http.post("/token", data=form, auth=("nobody", "x"), headers={"Origin": PAGE})
    assert with_basic.headers["www-authenticate"].startswith("Basic ")


async def test_every_401_of_a_protected_route_has_a_challenge_with_a_parameter(service: Service) -> None:
    """RFC 6750, section 3: the scheme must be followed by one or more auth-param values."""
    found = 0
    for endpoint in endpoints_of(service.app):
        for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic eDp5"}):
            answer = await service.http.request(endpoint.method, endpoint.filled(), headers=headers)
            if answer.status_code == 401:
                found += 1
                scheme, _, parameters = answer.headers["www-authenticate"].partition(" ")
                assert "=" in parameters, (endpoint, headers, scheme)
    assert found > 20


# Methods: RFC 9110, section 9.1.


async def test_head_is_served_wherever_get_is(service: Service) -> None:
    paths = {endpoint.filled() for endpoint in endpoints_of(service.app) if endpoint.method == "GET"}
    assert {"/.well-known/jwks.json", METADATA, OPENID, "/docs", "/openapi.json", "/account/v1", "/revocation-list"} <= paths
    for path in paths:
        get, head = await service.http.get(path), await service.http.head(path)
        assert (get.status_code, b"") == (head.status_code, head.content), path
        different = {"x-request-id"} | ({"content-length"} if get.status_code >= 400 or path == "/revocation-list" else set())
        assert {**get.headers} | dict.fromkeys(different, "") == {**head.headers} | dict.fromkeys(different, ""), path
        assert "HEAD" in (await service.http.request("BREW", path)).headers["allow"], path


async def test_head_is_served_on_the_internal_listener_as_well(service: Service) -> None:
    async with open_http(service.app.state.internal) as http:
        for path in ("/livez", "/readyz", "/metrics"):
            assert (200, b"") == ((head := await http.head(path)).status_code, head.content)


async def test_head_of_what_only_post_serves_names_post(service: Service) -> None:
    answer = await service.http.head("/token")
    assert (405, "POST") == (answer.status_code, answer.headers["allow"])


# Preflights: the Fetch standard.


@pytest.mark.parametrize(
    "asked",
    [
        "traceparent, sentry-trace, baggage",
        "authorization,traceparent,tracestate",
        "x-datadog-trace-id, x-b3-traceid, b3, newrelic",
    ],
)
async def test_tools_for_tracing_may_add_headers_to_the_requests_of_a_page(service: Service, asked: str) -> None:
    await add_client(service)
    await service.read_changes()
    headers = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": asked}
    answer = await service.http.options("/token", headers=headers)
    allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert (204, PAGE) == (answer.status_code, answer.headers["access-control-allow-origin"])
    assert {name.strip() for name in asked.split(",")} <= allowed


async def test_a_preflight_of_another_page_allows_nothing_but_public_documents(service: Service) -> None:
    headers = {
        "Origin": "https://elsewhere.example", "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "traceparent",
    }  # fmt: skip
    for path in ("/.well-known/jwks.json", METADATA):
        answer = await service.http.options(path, headers=headers)
        assert (204, "*") == (answer.status_code, answer.headers["access-control-allow-origin"])
        assert "traceparent" in answer.headers["access-control-allow-headers"]
        assert "access-control-allow-credentials" not in answer.headers
    for path in ("/token", "/account/v1", "/key-history"):
        answer = await service.http.options(path, headers=headers)
        assert not {name for name in answer.headers if name.startswith("access-control-")}, path


async def test_a_preflight_repeats_names_of_headers_alone(service: Service) -> None:
    await add_client(service)
    await service.read_changes()
    many = ",".join(f"x-{number}" for number in range(1000))
    for asked, allowed in (("a b, c\td, <script>, \xe9, ok", 1), (many, 64), ("", 0), ("authorization", 0)):
        headers = [
            (b"origin", PAGE.encode()), (b"access-control-request-method", b"POST"),
            (b"access-control-request-headers", asked.encode("latin-1")),
        ]  # fmt: skip
        answer = await ask(service.app, "OPTIONS", "/token", headers=headers)
        assert 3 + allowed == len(answer.headers["access-control-allow-headers"].split(", ")), asked


# Host: RFC 9112, section 3.2.


@pytest.mark.parametrize(
    "hosts",
    [
        [], [b"auth.example", b"auth.example"], [b"auth.example", b"evil.example"], [b"a/../token?"], [b"a b"], [b"\xff"],
        [b"evil@auth.example"], [b"[::1"], [b"auth.example:x"], [b"a." * 20_000 + b"@"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/livez", "/token", "/.well-known/jwks.json"])
async def test_a_request_without_one_valid_host_is_refused(service: Service, hosts: list[bytes], path: str) -> None:
    for app in (service.app, service.app.state.internal):
        answer = await ask(app, "GET", path, headers=[(b"host", host) for host in hosts], has_host=False)
        assert (400, "application/problem+json", "close") == (
            answer.status, answer.headers["content-type"], answer.headers["connection"],
        )  # fmt: skip
        assert b"Host" in answer.body


@pytest.mark.parametrize("host", [b"", b"auth.example", b"auth.example:8443", b"127.0.0.1:80", b"[::1]:8000", b"a_b.internal"])
async def test_every_valid_host_is_served(service: Service, host: bytes) -> None:
    assert 200 == (await ask(service.app, "GET", "/livez", headers=[(b"host", host)])).status


async def test_http_1_0_needs_no_host(service: Service) -> None:
    assert 200 == (await ask(service.app, "GET", "/livez", has_host=False, version="1.0")).status
    two = [(b"host", b"a"), (b"host", b"b")]
    assert 400 == (await ask(service.app, "GET", "/livez", headers=two, version="1.0")).status
