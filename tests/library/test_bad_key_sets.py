"""A key set that becomes invalid at an issuer, over real HTTP: in every case the previous keys still verify."""

import asyncio

import pytest

from authmint import InvalidToken, IssuerUnavailable, ResourceServer
from authmint.jose import SigningKey
from tests.library.conftest import AUDIENCE, Issuer
from tests.library.web import Clock, Web, publish, web

pytestmark = pytest.mark.anyio

RSA = Issuer(SigningKey.generate("RS256"))
BROKEN = [
    {"kty": "EC", "crv": "P-256", "kid": "x"}, {"kty": "oct", "k": "c2VjcmV0", "kid": "y"}, "key", None,
    {"kty": "RSA", "kid": "z", "n": "AQAB", "e": "AQAB"}, {"kty": "EC", "crv": "P-256", "kid": "w", "x": "AA", "y": "AA"},
]  # fmt: skip


def spoil(site: Web, how: str) -> None:
    """Respond with something else than the key set."""
    html = b"<!doctype html><title>Sign in to the network</title>"
    page = b"HTTP/1.1 200 X\r\nconnection: close\r\ncontent-type: text/html\r\ncontent-length: %d\r\n\r\n%s" % (len(html), html)
    endless = b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\n\r\n" + b'{"keys":["' + b"x" * 10_000_000
    answers = {
        "hangs": None, "sends 10 MB": endless, "sends HTML": page, "closes": b"", "has noise": b"\x00\xff\r\n\r\n",
        "redirects": f"HTTP/1.1 302 X\r\nlocation: {site.url}/moved\r\ncontent-length: 0\r\n\r\n".encode(),
    }  # fmt: skip
    sets = {"is empty": [], "has broken keys alone": BROKEN}
    if how in answers:
        site.answers["/jwks"] = answers[how]
        site.json("/moved", {"keys": [RSA.key.public_jwk()]})
    elif how in sets:
        site.json("/jwks", {"keys": sets[how]})
    else:
        site.json("/jwks", {}, status=int(how.split()[-1]))


@pytest.mark.parametrize(
    "how",
    ["hangs", "sends 10 MB", "sends HTML", "closes", "has noise", "redirects", "is empty", "has broken keys alone",
     "answers 404", "answers 500", "answers 206"],
)  # fmt: skip
async def test_old_keys_stay_when_the_key_set(how: str, issuer: Issuer) -> None:
    clock = Clock()
    async with web() as site:
        publish(site, issuer)
        auth = ResourceServer(issuer=site.url, audience=AUDIENCE, clock=clock, cache_size=0)
        token = issuer.token(iss=site.url, exp=int(clock.now) + 3600)
        await auth.verify(token)
        spoil(site, how)
        fetched = site.hits.count("/jwks")
        clock.now += 400
        await auth.verify(token)
        async with asyncio.timeout(10):
            while site.hits.count("/jwks") == fetched:
                await asyncio.sleep(0.01)
            # A token of a new key waits for that fetch. It gets no 401: its client shall try again, and keep its session.
            with pytest.raises(IssuerUnavailable):
                await auth.verify(RSA.token(iss=site.url, iat=int(clock.now), exp=int(clock.now) + 60))
        assert "6f1c" == (await auth.verify(token)).sub
        assert "/moved" not in site.hits


async def test_broken_keys_among_good_ones_of_both_kinds_are_skipped_alone(issuer: Issuer) -> None:
    clock = Clock()
    async with web() as site:
        site.json("/.well-known/oauth-authorization-server", {"issuer": site.url, "jwks_uri": f"{site.url}/jwks"})
        site.json("/jwks", {"keys": [*BROKEN, RSA.key.public_jwk(), *BROKEN, issuer.key.public_jwk()]})
        auth = ResourceServer(issuer=site.url, audience=AUDIENCE, clock=clock)
        for one in (issuer, RSA):
            assert "6f1c" == (await auth.verify(one.token(iss=site.url))).sub
        clock.now += 31
        with pytest.raises(InvalidToken):
            await auth.verify(Issuer().token(iss=site.url))
