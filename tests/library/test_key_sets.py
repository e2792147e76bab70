"""Sources of keys: given, or fetched from a real server on loopback that can fail, send nonsense, hang and recover."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from authmint import (
    ConfigurationError,
    InvalidToken,
    IssuerUnavailable,
    RemoteKeySet,
    ResourceServer,
    ServiceAuth,
    StaticKeySet,
)
from authmint.fetching import FetchError, JSONDocument, check_url, fetch_document
from authmint.key_sets import usable_keys
from authmint.metadata import discover, metadata_urls, read_metadata
from tests.library.conftest import AUDIENCE, NOW, Issuer
from tests.library.web import Clock, Web, publish, web

pytestmark = pytest.mark.anyio


def server_for(site: Web, clock: Callable[[], float]) -> ResourceServer:
    return ResourceServer(issuer=site.url, audience=AUDIENCE, clock=clock)


async def test_the_keys_are_found_through_the_issuers_metadata_and_fetched_once(issuer: Issuer) -> None:
    async with web() as site:
        publish(site, issuer)
        server = server_for(site, Clock())
        who = await asyncio.gather(*(server.verify(issuer.token(iss=site.url)) for _ in range(50)))
        assert {"6f1c"} == {one.sub for one in who}
        assert ["/.well-known/oauth-authorization-server", "/jwks"] == site.hits


async def test_openid_discovery_is_the_fallback(issuer: Issuer) -> None:
    async with web() as site:
        publish(site, issuer)
        site.answers["/.well-known/openid-configuration"] = site.answers.pop("/.well-known/oauth-authorization-server")
        assert await server_for(site, Clock()).verify(issuer.token(iss=site.url)) is not None


async def test_while_the_issuer_is_unavailable_good_keys_verify_for_a_day_and_no_longer(issuer: Issuer) -> None:
    async with web() as site:
        publish(site, issuer)
        clock = Clock()
        server = server_for(site, clock)
        assert await server.verify(issuer.token(iss=site.url)) is not None
        site.answers.clear()
        for hours in (1, 12, 23):
            clock.now = NOW + hours * 3600
            token = issuer.token(iss=site.url, iat=int(clock.now), exp=int(clock.now) + 300)
            assert "6f1c" == (await server.verify(token)).sub
            await asyncio.sleep(0.05)
        clock.now = NOW + 25 * 3600
        token = issuer.token(iss=site.url, iat=int(clock.now), exp=int(clock.now) + 300)
        with pytest.raises(IssuerUnavailable):
            await server.verify(token)
        publish(site, issuer)
        clock.now += 31
        assert "6f1c" == (await server.verify(token)).sub


async def test_a_new_key_is_fetched_when_its_first_token_comes_and_a_removed_one_is_gone(issuer: Issuer) -> None:
    async with web() as site:
        publish(site, issuer)
        clock, newcomer = Clock(), Issuer()
        server = server_for(site, clock)
        assert await server.verify(issuer.token(iss=site.url)) is not None
        publish(site, newcomer)
        clock.now += 31
        assert "6f1c" == (await server.verify(newcomer.token(iss=site.url))).sub
        with pytest.raises(InvalidToken):
            await server.verify(issuer.token(iss=site.url))


@pytest.mark.parametrize("is_empty", [False, True])
async def test_many_unknown_kids_cause_one_fetch_in_thirty_seconds_and_lose_no_good_key(
    issuer: Issuer, *, is_empty: bool
) -> None:
    async with web() as site:
        publish(site, *([] if is_empty else [issuer]))
        clock = Clock()
        server = server_for(site, clock)
        other = Issuer()
        for number in range(2000):
            other.signer = type(other.signer)(other.key)
            other.key.kid = f"kid-{number}"
            with pytest.raises((InvalidToken, IssuerUnavailable)):
                await server.verify(other.token(iss=site.url))
        assert site.hits.count("/jwks") <= 2
        if not is_empty:
            assert "6f1c" == (await server.verify(issuer.token(iss=site.url))).sub


async def test_a_token_that_is_plainly_not_the_issuers_causes_no_fetch(issuer: Issuer) -> None:
    async with web() as site:
        publish(site, issuer)
        server = server_for(site, Clock())
        for token in (issuer.token(iss="https://other.example"), issuer.token(typ="JWT"), "a.b.c", ""):
            with pytest.raises(InvalidToken):
                await server.verify(token)
        assert [] == site.hits


async def test_a_set_without_usable_keys_does_not_replace_a_good_one(issuer: Issuer) -> None:
    async with web() as site:
        publish(site, issuer)
        clock = Clock()
        server = server_for(site, clock)
        await server.verify(issuer.token(iss=site.url))
        useless: list[Any] = [{"keys": []}, {"keys": "x"}, [], {"keys": [{"kty": "oct"}]}, b"<html>", b'{"keys":[],"keys":[]}']
        for bad in useless:
            site.json("/jwks", bad)
            clock.now += 1000
            token = issuer.token(iss=site.url, iat=int(clock.now), exp=int(clock.now) + 300)
            assert "6f1c" == (await server.verify(token)).sub
            await asyncio.sleep(0.05)


def test_a_bad_key_is_skipped_alone_and_two_keys_of_one_name_are_both_skipped(issuer: Issuer) -> None:
    good, twin = issuer.key.public_jwk(), Issuer().key.public_jwk()
    bad: list[Any] = [{}, None, 1, {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "short"}, good | {"kid": "x", "use": "enc"}]
    assert {issuer.key.kid} == set(usable_keys({"keys": [*bad, good]}))
    assert not usable_keys({"keys": [good, twin | {"kid": issuer.key.kid}]})
    assert {"a"} == set(usable_keys({"keys": [good | {"kid": "b"}, twin | {"kid": "b"}, good | {"kid": "a"}]}))


def test_a_static_set_without_a_usable_key_is_refused_and_a_bad_replacement_keeps_the_old(issuer: Issuer) -> None:
    useless: list[dict[str, Any]] = [{}, {"keys": []}, {"keys": [1]}, {"keys": None}]
    for bad in useless:
        with pytest.raises(ConfigurationError):
            StaticKeySet(bad)
    keys = StaticKeySet(issuer.jwks)
    with pytest.raises(ConfigurationError):
        keys.replace({"keys": []})
    assert keys.find(issuer.key.kid) is not None


async def test_metadata_of_another_issuer_or_of_another_form_is_not_trusted(issuer: Issuer) -> None:
    async with web() as site:
        path = "/.well-known/oauth-authorization-server"
        good = {"issuer": site.url, "jwks_uri": f"{site.url}/jwks"}
        foreign: list[Any] = [
            good | {"issuer": "https://evil.example"}, good | {"issuer": f"{site.url}/"}, good | {"jwks_uri": "http://evil.example/"},
            good | {"jwks_uri": 1}, {}, [], good | {"jwks_uri": "file:///etc/passwd"},
        ]  # fmt: skip
        for bad in foreign:
            site.json(path, bad)
            with pytest.raises(FetchError):
                await discover(site.url)
        site.json(path, good)
        assert f"{site.url}/jwks" == (await discover(site.url)).jwks_uri


async def test_an_issuer_without_a_key_set_is_asked_again_later(issuer: Issuer) -> None:
    async with web() as site:
        path = "/.well-known/oauth-authorization-server"
        site.json(path, {"issuer": site.url, "token_endpoint": f"{site.url}/token"})
        assert (None, f"{site.url}/token") == ((found := await discover(site.url)).jwks_uri, found.token_endpoint)
        clock = Clock()
        server = ResourceServer(issuer=site.url, audience=AUDIENCE, clock=clock)
        token = issuer.token(iss=site.url)
        with pytest.raises(IssuerUnavailable):
            await server.verify(token)
        publish(site, issuer)
        clock.now += 31
        assert "6f1c" == (await server.verify(token)).sub


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_well_known_part_stands_before_the_issuers_path_or_after_it(slash: str) -> None:
    assert (
        "https://a.example/.well-known/oauth-authorization-server/t/1",
        "https://a.example/t/1/.well-known/openid-configuration",
        "https://a.example/t/1/.well-known/oauth-authorization-server",
        "https://a.example/.well-known/openid-configuration/t/1",
    ) == metadata_urls("https://a.example/t/1" + slash)
    assert (
        "https://a.example/.well-known/oauth-authorization-server",
        "https://a.example/.well-known/openid-configuration",
    ) == metadata_urls("https://a.example" + slash)


@pytest.mark.parametrize(
    "place",
    ["/.well-known/oauth-authorization-server/t", "/t/.well-known/openid-configuration",
     "/t/.well-known/oauth-authorization-server", "/.well-known/openid-configuration/t"],
)  # fmt: skip
@pytest.mark.parametrize("elsewhere", [None, "the root's", "an error"])
async def test_an_issuer_with_a_path_is_found_at_each_place_whatever_is_at_the_others(
    issuer: Issuer, place: str, elsewhere: str | None
) -> None:
    """Kind: a place that the standards allow is not looked at. A proxy may remove the path, or have other issuers."""
    async with web() as site:
        publish(site, issuer)
        name = f"{site.url}/t"
        for other in metadata_urls(name):
            if elsewhere == "the root's":
                site.json(other.removeprefix(site.url), {"issuer": site.url, "jwks_uri": f"{site.url}/other"})
            elif elsewhere:
                site.json(other.removeprefix(site.url), b"<html>", status=502)
        site.json(place, {"issuer": name, "jwks_uri": f"{site.url}/jwks", "token_endpoint": f"{site.url}/token"})
        server = ResourceServer(issuer=name, audience=AUDIENCE, clock=Clock())
        assert "6f1c" == (await server.verify(issuer.token(iss=name))).sub
        site.json("/token", {"access_token": "one", "token_type": "Bearer"})
        site.json("/who", {})
        async with httpx2.AsyncClient(auth=ServiceAuth(issuer=name, client_id="c", client_secret="s")) as client:
            assert 200 == (await client.get(f"{site.url}/who")).status_code


LOCAL = ("http://127.0.0.1:6379/", "http://localhost/x", "http://[::1]:1/", "https://127.0.0.1/", "https://a.localhost/")


@pytest.mark.parametrize("url", LOCAL)
@pytest.mark.parametrize("name", ["jwks_uri", "token_endpoint", "revocation_list_uri", "key_history_uri"])
def test_an_issuer_elsewhere_cannot_name_a_url_on_this_computer(name: str, url: str) -> None:
    """Kind: a server elsewhere decides what is requested here. One that is on this computer may name what is beside it."""
    good = {"issuer": "https://a.example", "jwks_uri": "https://keys.example/"}
    if name == "jwks_uri":
        with pytest.raises(FetchError, match="jwks_uri must be an https URL and not on this computer"):
            read_metadata(good | {name: url}, "https://a.example")
    else:
        assert getattr(read_metadata(good | {name: url}, "https://a.example"), name) is None
    for local in ("http://127.0.0.1:8000", "http://localhost"):
        assert url == getattr(read_metadata(good | {"issuer": local, name: url}, local), name)
    secure = "https://localhost:8443"
    found = read_metadata(good | {"issuer": secure, "jwks_uri": "https://localhost/", "token_endpoint": url}, secure)
    assert (url if url.startswith("https:") else None) == found.token_endpoint


async def test_a_document_is_fetched_within_limits() -> None:
    async with web() as site:
        site.json("/good", {"a": 1}, headers="cache-control: public, max-age=77\r\n")
        document = await fetch_document(f"{site.url}/good")
        assert JSONDocument({"a": 1}, 77) == document
        site.json("/large", b'{"a":"' + b"x" * 70_000 + b'"}')
        site.json("/moved", {}, status=302, headers=f"location: {site.url}/good\r\n")
        site.json("/broken", {}, status=500)
        site.answers["/cut"] = b"HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n{"
        site.answers["/noise"] = b"\x00\xff\r\n\r\n"
        site.json("/deep", b"[" * 30_000)
        for path in ("/large", "/moved", "/broken", "/cut", "/noise", "/deep", "/nothing"):
            with pytest.raises(FetchError):
                await fetch_document(site.url + path)
        assert 1 == site.hits.count("/good")


async def test_a_server_that_hangs_times_out_after_three_seconds() -> None:
    async with web() as site:
        site.answers["/hang"] = None
        async with asyncio.timeout(6):
            with pytest.raises(FetchError):
                await fetch_document(f"{site.url}/hang")


@pytest.mark.parametrize(
    "url", ["http://auth.example", "ftp://127.0.0.1", "auth.example", "", "https://", "https://u:p@a.example", "https://a.example/#x",
            "https://a b", "http://127.0.0.1.evil.example", "http://localhost.evil.example", "https://[::1", "http://0x7f.1"]
)  # fmt: skip
def test_an_address_must_be_https_or_loopback(url: str) -> None:
    with pytest.raises(ConfigurationError):
        check_url(url, "issuer")


@pytest.mark.parametrize(
    "url", ["https://a.example", "http://127.0.0.1:1", "http://localhost:8000", "http://[::1]:8000", "https://a.example/x"]
)
def test_https_and_loopback_addresses_are_accepted_unchanged(url: str) -> None:
    assert url == check_url(url, "issuer")


async def test_the_lifespan_fetches_before_the_first_request_and_starts_without_an_issuer(issuer: Issuer) -> None:
    async with web() as site:
        publish(site, issuer)
        server = server_for(site, Clock())
        async with server.lifespan():
            assert "/jwks" in site.hits
            assert await server.verify(issuer.token(iss=site.url)) is not None
    lonely = ResourceServer(issuer="http://127.0.0.1:1", audience=AUDIENCE, clock=Clock())
    async with lonely.lifespan():
        with pytest.raises(IssuerUnavailable):
            await lonely.verify(issuer.token(iss="http://127.0.0.1:1"))


async def test_a_cancelled_caller_does_not_cancel_the_fetch_that_others_wait_for(issuer: Issuer) -> None:
    go = threading.Event()

    async def source() -> JSONDocument:
        while not go.is_set():
            await asyncio.sleep(0.01)
        return JSONDocument(issuer.jwks, None)

    keys = RemoteKeySet(source)
    first, second = (asyncio.create_task(keys.fetch(issuer.key.kid or "")) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    go.set()
    assert issuer.key.kid == (await second).kid
