"""The known attacks on tokens, against a dependency that fetches its keys: none is accepted, no other host is contacted.

The eight are PortSwigger's laboratories, the twenty those of the usual playbooks (T-13). Every address that a token names is
one of a server that counts its requests.
"""

import base64
import hmac
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from authmint import InvalidToken, IssuerUnavailable, Principal, ResourceServer
from authmint.jose import encode_base64url
from tests.library.conftest import AUDIENCE, NOW, Issuer
from tests.library.web import Clock, Web, publish, web

pytestmark = pytest.mark.anyio

FORMATS, SUBJECT_KEY = serialization.Encoding, serialization.PublicFormat.SubjectPublicKeyInfo


@dataclass
class Scene:
    """An issuer, the dependency that trusts it, and an attacker with a key of their own."""

    site: Web
    server: ResourceServer
    issuer: Issuer
    attacker: Issuer

    def claims(self, **changes: Any) -> dict[str, Any]:
        return self.issuer.claims(**{"iss": self.site.url} | changes)

    def header(self, **changes: Any) -> dict[str, Any]:
        known = {"alg": "ES256", "typ": "at+jwt", "kid": self.issuer.key.kid}
        return {name: value for name, value in (known | changes).items() if value is not ...}

    def signed(self, header: dict[str, Any], by: Issuer, **claims: Any) -> str:
        text = f"{encode(header)}.{encode(self.claims(**claims))}"
        return f"{text}.{encode_base64url(by.key.sign(text.encode()))}"

    def with_hmac(self, secret: bytes, **header: Any) -> str:
        text = f"{encode(self.header(alg='HS256', **header))}.{encode(self.claims())}"
        return f"{text}.{encode_base64url(hmac.digest(secret, text.encode(), 'sha256'))}"

    def with_signature(self, signature: bytes, **header: Any) -> str:
        return f"{encode(self.header(**header))}.{encode(self.claims())}.{encode_base64url(signature)}"

    @property
    def evil(self) -> str:
        """The URL of the attacker's keys, beside the issuer's own."""
        return f"{self.site.url}/evil"

    async def authenticate(self, token: str) -> Principal | None:
        try:
            return await self.server.verify(token)
        except (InvalidToken, IssuerUnavailable):
            # An invented key is not known yet, while the next fetch waits.
            return None


def encode(content: Any) -> str:
    return encode_base64url(json.dumps(content).encode())


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    issuer, attacker = Issuer(), Issuer()
    async with web() as site:
        publish(site, issuer)
        for path in ("/evil", "/evil.pem", "/evil/.well-known/jwks.json"):
            site.json(path, attacker.jwks)
        server = ResourceServer(issuer=site.url, audience=AUDIENCE, clock=Clock())
        found = Scene(site, server, issuer, attacker)
        assert await found.authenticate(found.signed(found.header(), issuer))
        yield found
        # Nothing was requested but the issuer's metadata and keys; once more for the keys, because of an unknown kid.
        assert {"/.well-known/oauth-authorization-server", "/jwks"} == set(site.hits)
        assert site.hits.count("/jwks") <= 2


def public_forms(issuer: Issuer) -> list[bytes]:
    """Return the public key in each form that could be mistaken for a secret."""
    public = serialization.load_pem_private_key(issuer.key.to_pem(), None).public_key()
    pem = public.public_bytes(FORMATS.PEM, SUBJECT_KEY)
    return [pem, pem.strip(), public.public_bytes(FORMATS.DER, SUBJECT_KEY), json.dumps(issuer.key.public_jwk()).encode()]


def twice(header: dict[str, Any], algorithm: str) -> str:
    """Return a header that repeats its algorithm at the end."""
    return encode_base64url(f'{json.dumps(header)[:-1]}, "alg": "{algorithm}"}}'.encode())


def laboratories(scene: Scene) -> dict[str, list[str]]:
    own, attacker = scene.header(), scene.attacker
    good = scene.signed(own, scene.issuer)
    parts = good.split(".")
    return {
        "a signature that is not verified": [f"{parts[0]}.{encode(scene.claims(sub='administrator'))}.{parts[2]}"],
        "no signature at all": [
            f"{encode(scene.header(alg=none))}.{encode(scene.claims())}.{signature}"
            for none in ("none", "None", "NONE", "nOnE") for signature in ("", parts[2], "AA")
        ],
        "a weak secret": [scene.with_hmac(secret) for secret in (b"secret1", b"secret", b"")],
        "the key in the header": [scene.signed(scene.header(jwk=attacker.key.public_jwk(), kid=attacker.key.kid), attacker)],
        "an address of keys in the header": [scene.signed(scene.header(jku=scene.evil, kid=attacker.key.kid), attacker)],
        "a path as kid": [scene.with_hmac(b"", kid="../../../../dev/null"), scene.with_hmac(b"\0", kid="../../../dev/null")],
        "the public key as a secret": [scene.with_hmac(secret) for secret in public_forms(scene.issuer)],
        "the same with a key that is worked out": [scene.with_hmac(secret, kid=...) for secret in public_forms(scene.issuer)],
    }  # fmt: skip


def playbook(scene: Scene) -> dict[str, list[str]]:
    own, attacker, issuer = scene.header(), scene.attacker, scene.issuer
    good = scene.signed(own, issuer)
    head, body, signature = good.split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    beyond = (int.from_bytes(raw[:32], "big") + order).to_bytes(33, "big") + raw[32:]
    der = b"\x30" + bytes([70]) + b"\x02\x21\0" + raw[:32] + b"\x02\x21\0" + raw[32:]
    certificate = base64.b64encode(public_forms(attacker)[2]).decode()
    return {
        "a signature of zeros": [scene.with_signature(bytes(64))],
        "a signature of the group's order": [scene.with_signature(order.to_bytes(32, "big") * 2)],
        "a signature beyond the order": [f"{head}.{body}.{encode_base64url(beyond)}"],
        "a signature in DER": [f"{head}.{body}.{encode_base64url(der)}"],
        "an empty signature": [f"{head}.{body}.", f"{head}.{body}"],
        "a signature of another token": [f"{head}.{encode(scene.claims(jti='2'))}.{signature}"],
        "an empty secret": [scene.with_hmac(b""), scene.with_hmac(b"\0" * 32), scene.with_hmac(b"", kid="")],
        "an address of certificates": [scene.signed(scene.header(x5u=f"{scene.evil}.pem", kid=attacker.key.kid), attacker)],
        "a certificate in the header": [scene.signed(scene.header(x5c=[certificate], kid=attacker.key.kid), attacker)],
        "a thumbprint of a certificate": [scene.signed(scene.header(x5t="AA", **{"x5t#S256": "AA"}), attacker)],
        "SQL as kid": [scene.with_hmac(b"x", kid="nothing' UNION SELECT 'x' --")],
        "a command as kid": [scene.with_hmac(b"x", kid="/dev/null; sleep 5"), scene.with_hmac(b"x", kid="|curl 127.0.0.1")],
        "an address as kid": [scene.signed(scene.header(kid=scene.evil), attacker)],
        "an issuer of the attacker's": [scene.signed(scene.header(kid=attacker.key.kid), attacker, iss=scene.evil)],
        "an unknown critical extension": [scene.signed(scene.header(crit=["x"], x=True), issuer)],
        "a payload that is not encoded": [scene.signed(scene.header(b64=False, crit=["b64"]), issuer)],
        "an algorithm of another family": [scene.signed(scene.header(alg=alg), issuer) for alg in ("RS256", "PS256", "EdDSA")],
        "an identity token": [scene.signed(scene.header(typ="JWT"), issuer), scene.signed(scene.header(typ=...), issuer)],
        "members twice": [
            f"{twice(own, 'none')}.{body}.", f"{twice(own, 'none')}.{body}.{signature}",
            f"{twice(own, 'ES256')}.{body}.{signature}",
        ],
        "one token that two readers read in two ways": [
            json.dumps({"protected": head, "payload": body, "signature": signature, good: good}),
            f"{good}.{good}", f"{good},{good}",
        ],
        "out of time, or for others": [
            scene.signed(own, issuer, **wrong) for wrong in ({"exp": NOW - 31}, {"nbf": NOW + 31}, {"aud": "other"})
        ],
    }  # fmt: skip


async def test_none_of_the_eight_laboratories_and_none_of_the_playbooks_attacks_is_accepted(scene: Scene) -> None:
    eight, others = laboratories(scene), playbook(scene)
    assert 8 == len(eight)
    assert 20 <= len(others)
    for name, tokens in (eight | others).items():
        for token in tokens:
            assert await scene.authenticate(token) is None, (name, token)


async def test_no_token_under_one_of_ninety_five_common_secrets_is_accepted(scene: Scene) -> None:
    common = list(FREQUENCY_LISTS["passwords"])[:95]
    assert 95 == len(common)
    strong = ResourceServer(issuer=scene.site.url, audience=AUDIENCE, shared_secret=secrets.token_bytes(32), clock=lambda: NOW)
    for secret in common:
        for spelling in (secret.encode(), secret.upper().encode(), (secret * 32)[:32].encode()):
            token = scene.with_hmac(spelling)
            assert await scene.authenticate(token) is None, spelling
            with pytest.raises(InvalidToken):
                await strong.verify(token)


CLAIMS = (
    "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "scope", "sid", "sub_profile", "name", "given_name",
    "family_name", "preferred_username", "email", "email_verified", "phone_number", "address", "updated_at", "azp", "nonce",
    "auth_time", "at_hash", "c_hash", "acr", "amr", "cnf", "sub_jwk", "act", "may_act", "events", "toe", "txn", "roles",
    "groups", "entitlements", "permissions", "authorities", "htm", "htu", "ath", "vot", "attest", "active", "username",
    "token_type",
)  # fmt: skip
MEMBERS = (
    "alg", "typ", "kid", "cty", "crit", "b64", "jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "zip", "enc", "epk", "apu", "p2c",
    "svt",
)  # fmt: skip
WRONG_VALUES: tuple[Any, ...] = ("\0admin", -1, ["admin", "orders:write"], {"admin": True}, None)
DECIDE = {"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "scope", "sid", "cnf"}
"""Refused in every wrong type, and `cnf` in every type."""
FORBIDDEN_HEADER_MEMBERS = {"alg", "typ", "kid", "crit", "b64", "jku", "jwk", "x5u", "x5c", "zip", "enc"}


async def test_each_of_sixty_five_registered_names_in_five_wrong_types_is_refused_or_changes_nothing(scene: Scene) -> None:
    """The signature is good each time: this is about what an issuer might put there, and what a reader makes of it."""
    plain = await scene.authenticate(scene.signed(scene.header(), scene.issuer))
    assert plain
    assert 65 == len({*CLAIMS, *MEMBERS}) == len(CLAIMS) + len(MEMBERS)
    for value in WRONG_VALUES:
        for name in CLAIMS:
            principal = await scene.authenticate(scene.signed(scene.header(), scene.issuer, **{name: value}))
            if name == "sub_profile":
                # An unknown one is neither a user nor a service; one of another type is refused.
                assert (principal is None) == (value is not None and not isinstance(value, str)), value
                assert principal is None or not (principal.is_user or principal.is_service)
            else:
                assert (principal is None) == (name in DECIDE), (name, value)
                assert principal is None or rights(principal) == rights(plain), (name, value)
        for name in MEMBERS:
            principal = await scene.authenticate(scene.signed(scene.header() | {name: value}, scene.issuer))
            assert (principal is None) == (name in FORBIDDEN_HEADER_MEMBERS), (name, value)
            assert principal is None or rights(principal) == rights(plain), (name, value)


def rights(principal: Principal) -> tuple[object, ...]:
    """Return all that a service decides by."""
    return (
        principal.issuer, principal.sub, principal.client_id, principal.scopes, principal.audience, principal.session_id,
        principal.issued_at, principal.expires_at, principal.is_user, principal.is_service,
    )  # fmt: skip
