"""`authmint doctor`: its checks of an issuer and of services, over real HTTP."""

import asyncio
import json
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest

from authmint.checks import Check
from authmint.cli import main
from authmint.doctor import check_issuer, check_resource
from tests.library.conftest import Issuer
from tests.library.web import Web, publish, web

pytestmark = pytest.mark.anyio


def good_headers(offset_seconds: float = 0) -> str:
    return f"cache-control: public, max-age=300\r\ndate: {formatdate(time.time() + offset_seconds, usegmt=True)}\r\n"


def messages(checks: list[Check], name: str, passed: bool | None) -> str:
    return " ".join(check.message for check in checks if check.name == name and check.passed is passed)


async def of_issuer(site: Web) -> list[Check]:
    return [check async for check in check_issuer(site.url)]


async def of_resource(site: Web, path: str = "/orders") -> list[Check]:
    return [check async for check in check_resource(site.url + path, site.url)]


async def test_a_good_issuer_passes_every_check(issuer: Issuer) -> None:
    async with web() as site:
        publish(site, issuer, headers=good_headers())
        checks = await of_issuer(site)
    assert ["https", "metadata", "keys", "algorithms", "cache", "clock"] == [check.name for check in checks]
    assert {True} == {check.passed for check in checks[1:]}
    assert (issuer.key.kid or "-") in messages(checks, "keys", True)
    assert "ES256" in messages(checks, "algorithms", True)


Break = Callable[[Web, Issuer], None]


def other_issuer(site: Web, _: Issuer) -> None:
    site.json("/.well-known/oauth-authorization-server", {"issuer": f"{site.url}/", "jwks_uri": f"{site.url}/jwks"})


def no_key_set(site: Web, _: Issuer) -> None:
    site.json("/.well-known/oauth-authorization-server", {"issuer": site.url})


FAULTS: list[tuple[Break, str, bool | None, str]] = [
    (other_issuer, "metadata", False, "names another issuer"),
    (no_key_set, "keys", False, "no jwks_uri"),
    (lambda site, _: site.answers.clear(), "metadata", False, "status 404"),
    (lambda site, _: site.json("/jwks", {}, status=500), "keys", False, "status 500"),
    (lambda site, _: site.json("/jwks", {"keys": []}), "keys", False, "no key that may verify"),
    (lambda site, _: site.json("/jwks", {"keys": 7}), "keys", False, "no list"),
    (lambda site, _: site.json("/jwks", b"<html>"), "keys", False, "cannot be read"),
    (lambda site, _: site.json("/jwks", {"keys": [{"kty": "oct", "kid": "s"}]}), "keys", None, "Key 0 of the set is not used"),
    (lambda site, one: site.json("/jwks", {"keys": [one.key.public_jwk()] * 2}), "keys", False, "Two keys have one kid"),
    (lambda site, one: publish(site, one), "cache", None, "without max-age"),
    (lambda site, one: publish(site, one, headers="cache-control: max-age=15\r\n"), "cache", None, "15 seconds"),
    (lambda site, one: publish(site, one, headers="cache-control: max-age=86400\r\n"), "cache", None, "1 day"),
    (lambda site, one: publish(site, one), "clock", None, "no Date"),
    (lambda site, one: publish(site, one, headers="date: nonsense\r\n"), "clock", None, "no Date"),
    (lambda site, one: publish(site, one, headers=good_headers(125)), "clock", False, "2 minutes ahead of"),
    (lambda site, one: publish(site, one, headers=good_headers(-15)), "clock", None, "behind this one, within the leeway"),
]


@pytest.mark.parametrize(("change", "name", "passed", "words"), FAULTS)
async def test_each_fault_of_an_issuer_is_found(
    issuer: Issuer, change: Break, name: str, passed: bool | None, words: str
) -> None:
    async with web() as site:
        publish(site, issuer, headers=good_headers())
        change(site, issuer)
        assert words in messages(await of_issuer(site), name, passed)


def protect(
    site: Web, *, without: str = 'Bearer realm="x"', bad: str = 'Bearer error="invalid_token"', status: int = 401
) -> None:
    """Publish a resource with one response without a token and another to a bad one."""
    site.json("/orders", {}, status=status, headers=f"www-authenticate: {without}\r\n")
    site.bad["/orders"] = site.answers["/orders"]
    site.json("/orders", {}, status=401, headers=f"www-authenticate: {bad}\r\n")
    site.bad["/orders"], site.answers["/orders"] = site.answers["/orders"], site.bad["/orders"]


async def test_a_good_resource_passes_every_check() -> None:
    async with web() as site:
        metadata_url = f"{site.url}/.well-known/oauth-protected-resource"
        protect(site, without=f'Bearer resource_metadata="{metadata_url}"')
        site.json("/.well-known/oauth-protected-resource", {"resource": site.url, "authorization_servers": [site.url]})
        checks = await of_resource(site)
    assert ["https", "challenge", "bad token", "metadata"] == [check.name for check in checks]
    assert {True} == {check.passed for check in checks[1:]}


@pytest.mark.parametrize(
    ("answers", "name", "passed", "words"),
    [
        ({"status": 200}, "challenge", False, "responds 200"),
        ({"without": "Basic"}, "challenge", False, "no WWW-Authenticate: Bearer"),
        ({"without": 'Bearer error="invalid_token"'}, "challenge", None, "names an error"),
        ({"without": "Bearer"}, "challenge", None, "without a parameter"),
        ({"without": "Bearer realm = x"}, "challenge", True, "401 and Bearer"),
        ({"bad": "Bearer"}, "bad token", False, "A bad token gets 401"),
        ({"bad": "Bearer realm=x, Error = invalid_token"}, "bad token", True, "A bad token gets 401"),
        ({}, "metadata", None, "does not describe itself"),
        ({"without": 'Bearer resource_metadata="http://127.0.0.1:1/x"'}, "metadata", False, "cannot be read"),
        ({"without": 'Bearer resource_metadata="http://evil.example/x"'}, "metadata", False, "https"),
    ],
)
async def test_each_fault_of_a_resource_is_found(answers: dict[str, Any], name: str, passed: bool | None, words: str) -> None:
    async with web() as site:
        protect(site, **answers)
        assert words in messages(await of_resource(site), name, passed)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"authorization_servers": ["https://other.example"]}, "does not name the issuer"),
        ({"authorization_servers": 7}, "does not name the issuer"),
        ({"resource": "https://other.example"}, "another resource"),
        ({"resource": None}, "another resource"),
    ],
)
async def test_metadata_of_another_resource_or_issuer_is_found(content: dict[str, Any], words: str) -> None:
    async with web() as site:
        protect(site)
        described = {"resource": site.url, "authorization_servers": [site.url]} | content
        site.json("/.well-known/oauth-protected-resource", described)
        assert words in messages(await of_resource(site), "metadata", False)


async def test_a_resource_without_keys_and_one_that_is_unreachable_are_found(issuer: Issuer) -> None:
    async with web() as site:
        protect(site)
        site.bad["/orders"] = b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n"
        assert "it has no keys" in messages(await of_resource(site), "bad token", False)
    assert "cannot be requested" in messages(
        [one async for one in check_resource("http://127.0.0.1:1", "x")], "challenge", False
    )
    assert "https" in messages([one async for one in check_issuer("http://auth.example")], "https", False)
    assert "https" in messages([one async for one in check_resource("http://orders.example", "x")], "https", False)


async def test_the_command_reports_in_text_or_json_and_its_exit_code_is_1_when_a_check_fails(
    issuer: Issuer, capsys: pytest.CaptureFixture[str]
) -> None:
    async with web() as site:
        publish(site, issuer, headers=good_headers())
        protect(site)
        resource = f"{site.url}/orders"
        assert 0 == await asyncio.to_thread(main, ["doctor", "--issuer", site.url, "--resource", resource])
        said = capsys.readouterr().out
        assert "ok  clock" in said
        assert said.endswith("Every check passed.\n")
        site.answers["/orders"] = b"HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n"
        assert 1 == await asyncio.to_thread(main, ["doctor", "--issuer", site.url, "--resource", resource, "--json"])
        found = json.loads(capsys.readouterr().out)
        assert found["ok"] is False
        assert {"subject", "name", "passed", "message"} == set(found["checks"][0])
        protect(site, bad='Bearer error="invalid_token\x1b[31m"', status=299)
        assert 1 == await asyncio.to_thread(main, ["doctor", "--issuer", site.url + "\x1b", "--resource", resource])
        assert "\x1b" not in capsys.readouterr().out
