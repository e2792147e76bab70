"""Tokens that must be refused, each with the reason in the log. Every one is a 401 with the same body."""

import base64
import json
import string
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jose import jwk as jose_jwk

from authmint import InvalidToken, ResourceServer
from authmint.jose import JWTSigner, SharedSecretKey, SigningKey, VerifyingKey
from tests.library.conftest import AUDIENCE, ISSUER, NOW, Issuer

pytestmark = pytest.mark.anyio


def encode(content: Any) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def handmade(issuer: Issuer, header: Any, payload: Any = None) -> str:
    """Return a token with any header and payload, and a good signature over them."""
    signing_input = f"{encode(header)}.{encode(issuer.claims() if payload is None else payload)}"
    return f"{signing_input}.{encode(issuer.key.sign(signing_input.encode()))}"


def good_header(issuer: Issuer) -> dict[str, Any]:
    return {"alg": "ES256", "typ": "at+jwt", "kid": issuer.key.kid}


async def reason(server: ResourceServer, token: str) -> str:
    with pytest.raises(InvalidToken) as refused:
        await server.verify(token)
    return refused.value.reason


async def test_a_good_token_passes(server: ResourceServer, issuer: Issuer) -> None:
    assert "6f1c" == (await server.verify(issuer.token())).sub
    assert "6f1c" == (await server.verify(handmade(issuer, good_header(issuer)))).sub


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"])
async def test_both_spellings_of_the_type_pass_in_any_case(server: ResourceServer, issuer: Issuer, typ: str) -> None:
    assert "6f1c" == (await server.verify(issuer.token(typ=typ))).sub


@pytest.mark.parametrize("typ", ["JWT", "jwt", "", "at+jwt ", "secevent+jwt", "logout+jwt", "application/jwt", "id_token"])
async def test_another_kind_of_token_is_refused(server: ResourceServer, issuer: Issuer, typ: str) -> None:
    assert "wrong_type" == await reason(server, issuer.token(typ=typ))


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "nOnE", "", "HS256", "RS256", "ES384", "es256", None, 1, [], {}, ["ES256"], "ES256\0"]
)
async def test_another_algorithm_is_refused(server: ResourceServer, issuer: Issuer, alg: Any) -> None:
    for header in (good_header(issuer) | {"alg": alg}, {k: v for k, v in good_header(issuer).items() if k != "alg"}):
        assert "wrong_algorithm" == await reason(server, handmade(issuer, header))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("crit", ["exp"]), ("crit", []), ("crit", ["b64"]), ("crit", None), ("crit", "exp"), ("crit", {}), ("b64", False),
        ("b64", True), ("jku", "http://127.0.0.1:1/jwks"), ("x5u", "http://127.0.0.1:1/x"), ("x5c", ["MII"]), ("zip", "DEF"),
        ("enc", "A256GCM"), ("jwk", {"kty": "EC"}),
    ],
)  # fmt: skip
async def test_a_header_that_changes_the_rules_or_brings_a_key_is_refused(
    server: ResourceServer, issuer: Issuer, name: str, value: Any
) -> None:
    assert "forbidden_header" == await reason(server, handmade(issuer, good_header(issuer) | {name: value}))


@pytest.mark.parametrize(
    "kid", ["../../etc/passwd", "' OR 1=1 --", "|id", "", "a" * 300, 1, None, [], {}, "\0", "http://127.0.0.1:1/", "\ud800"]
)
async def test_a_kid_only_finds_a_key_that_is_known(server: ResourceServer, issuer: Issuer, kid: Any) -> None:
    code = await reason(server, handmade(issuer, good_header(issuer) | {"kid": kid}))
    assert code in {"unknown_key", "malformed_kid", "malformed_header"}


async def test_a_token_without_kid_is_refused(server: ResourceServer, issuer: Issuer) -> None:
    assert "missing_kid" == await reason(server, handmade(issuer, {"alg": "ES256", "typ": "at+jwt"}))


async def test_another_key_under_our_kid_is_a_bad_signature(server: ResourceServer, issuer: Issuer) -> None:
    other = Issuer()
    assert "bad_signature" == await reason(server, handmade(other, good_header(issuer)))
    assert "unknown_key" == await reason(server, other.token())


async def test_hmac_keyed_with_our_public_key_in_any_form_is_refused(server: ResourceServer, issuer: Issuer) -> None:
    public = serialization.load_pem_private_key(issuer.key.to_pem(), None).public_key()
    forms, layout = serialization.Encoding, serialization.PublicFormat.SubjectPublicKeyInfo
    secrets = [
        public.public_bytes(forms.PEM, layout), public.public_bytes(forms.DER, layout),
        public.public_bytes(forms.X962, serialization.PublicFormat.UncompressedPoint),
        public.public_bytes(forms.OpenSSH, serialization.PublicFormat.OpenSSH),
        json.dumps(issuer.key.public_jwk()).encode(), json.dumps(issuer.jwks).encode(),
    ]  # fmt: skip
    for secret in secrets:
        forged = JWTSigner(SharedSecretKey(secret, kid=issuer.key.kid)).sign(issuer.claims())
        assert "wrong_algorithm" == await reason(server, forged)


async def test_one_token_has_one_spelling(server: ResourceServer, issuer: Issuer) -> None:
    token = issuer.token()
    header, payload, signature = token.split(".")
    last = signature[-1]
    others = [one for one in string.ascii_letters + string.digits + "-_" if one != last]
    spellings = [
        f"{token}=", f" {token}", f"{token} ", f"{token}\n", f"{header}.{payload}.{signature[:-1]}",
        f"{header}=.{payload}.{signature}", f"{header}.{payload}..{signature}", f"{header}.{payload}", token + ".",
        f".{payload}.{signature}", f"{header}.{payload}.",
        token.replace("-", "+").replace("_", "/") + "?", f"{header}.{payload}.{signature}.a.b", json.dumps({"token": token}),
        token + "\ud800", token + "é", "",
    ] + [f"{header}.{payload}.{signature[:-1]}{one}" for one in others]  # fmt: skip
    for spelling in spellings:
        assert await reason(server, spelling)


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"null", b"[]", b'"x"', b"{", b'{"a":NaN}', b'{"a":Infinity}', b'{"a":1e400}', b'{"sub":"a","sub":"b"}',
        b"\xff\xfe",
        b"[" * 5000, b'{"a":' * 3000 + b"1" + b"}" * 3000, b'{"a":"\\ud800"}', b'\xef\xbb\xbf{"a":1}', b"{} {}",
    ],
)  # fmt: skip
async def test_a_payload_that_is_not_a_plain_json_object_is_refused(
    server: ResourceServer, issuer: Issuer, payload: bytes
) -> None:
    assert await reason(server, handmade(issuer, good_header(issuer), payload)) in {"malformed_payload", "token_too_long"}


@pytest.mark.parametrize(
    "header",
    [
        b"", b"null", b"[]", b"{", b'{"alg":"ES256","alg":"ES256"}', b"[" * 600, b'{"a":' * 150 + b"1" + b"}" * 150, b"\xff",
        b'{"alg":"ES256","typ":"at+jwt","x":"' + b"a" * 2000 + b'"}',
    ],
)  # fmt: skip
async def test_a_header_that_is_not_a_plain_json_object_is_refused(
    server: ResourceServer, issuer: Issuer, header: bytes
) -> None:
    words = {"malformed_header", "header_too_long", "malformed_token", "wrong_algorithm"}
    assert await reason(server, handmade(issuer, header)) in words


async def test_a_token_above_the_limit_is_refused_before_it_is_decoded(server: ResourceServer) -> None:
    assert "token_too_long" == await reason(server, "a" * 8193)
    assert "token_too_long" == await reason(server, "." * 10_000_000)


WRONG_OPTIONAL_VALUES: list[Any] = [None, True, [], {}, ["x"], 1.5, "a\nb"]
WRONG_VALUES: list[Any] = [..., None, True, 1, 1.5, "", [], {}, ["x"], {"a": 1}, -1, 10**30, "1800000000", "\0"]


# To `sub`, `jti` and `client_id` any printable text will do.
@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in ("iss", "aud", "exp", "iat") for value in WRONG_VALUES]
    + [(name, value) for name in ("sub", "jti", "client_id") for value in WRONG_VALUES if value != "1800000000"],
)
async def test_a_required_claim_of_another_type_is_refused(
    server: ResourceServer, issuer: Issuer, name: str, value: Any
) -> None:
    assert await reason(server, issuer.token(**{name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("scope", "sid") for value in WRONG_OPTIONAL_VALUES),
        *(("nbf", value) for value in WRONG_OPTIONAL_VALUES if value != 1.5),
        *(("scope", value) for value in ("a  b", 'a"b', " a")),
    ],
)
async def test_an_optional_claim_of_another_type_is_refused(
    server: ResourceServer, issuer: Issuer, name: str, value: Any
) -> None:
    assert await reason(server, issuer.token(**{name: value}))


@pytest.mark.parametrize(
    "issuer_claim",
    [f"{ISSUER}/", ISSUER.upper(), ISSUER[:-1], ISSUER + "x", "http://auth.example", [ISSUER], f" {ISSUER}", "https://auth.examplе"],
)  # fmt: skip
async def test_the_issuer_must_be_equal_to_the_character(server: ResourceServer, issuer: Issuer, issuer_claim: Any) -> None:
    assert await reason(server, issuer.token(iss=issuer_claim))


@pytest.mark.parametrize(
    "audience",
    ["order", "orders ", "Orders", "orders/", "payments", ["payments"], [["orders"]], "payments orders", "*", [None, "orders"]],
)
async def test_a_token_for_another_audience_is_refused(server: ResourceServer, issuer: Issuer, audience: Any) -> None:
    assert await reason(server, issuer.token(aud=audience))


async def test_one_of_several_audiences_is_enough(server: ResourceServer, issuer: Issuer) -> None:
    assert ("payments", "orders") == (await server.verify(issuer.token(aud=["payments", AUDIENCE]))).audience


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exp": NOW - 31}, "expired"), ({"exp": NOW - 30}, "expired"), ({"exp": NOW - 29}, None),
        ({"iat": NOW + 29, "exp": NOW + 300}, None), ({"iat": NOW + 30, "exp": NOW + 300}, None),
        ({"iat": NOW + 31, "exp": NOW + 300}, "issued_in_future"),
        ({"nbf": NOW + 29}, None), ({"nbf": NOW + 30}, None), ({"nbf": NOW + 31}, "not_yet_valid"),
        ({"exp": NOW + 86_399}, None), ({"exp": NOW + 86_400}, None), ({"exp": NOW + 86_401}, "lifetime_too_long"),
        ({"iat": 0}, "lifetime_too_long"), ({"exp": 0, "iat": 0}, "expired"), ({"exp": 253_402_300_800}, "malformed_exp"),
    ],
)  # fmt: skip
async def test_times_are_judged_to_the_second(
    server: ResourceServer, issuer: Issuer, changes: dict[str, Any], code: str | None
) -> None:
    token = issuer.token(**({"iat": NOW - 100} | changes if "exp" in changes and changes["exp"] < NOW else changes))
    if code is None:
        assert "6f1c" == (await server.verify(token)).sub
    else:
        assert code == await reason(server, token)


@pytest.mark.parametrize(
    ("changes", "now", "code"),
    [
        ({"exp": NOW + 300.5}, NOW, None), ({"iat": NOW - 0.25}, NOW, None), ({"nbf": NOW + 0.75}, NOW, None),
        ({"exp": 1.8000003e9, "iat": 1.8e9, "nbf": 1.8e9}, NOW, None),
        ({"exp": NOW + 9.5}, NOW + 39.25, None), ({"exp": NOW + 9.5}, NOW + 39.5, "expired"),
        ({"iat": NOW + 30.5}, NOW + 0.5, None), ({"iat": NOW + 30.5}, NOW + 0.25, "issued_in_future"),
        ({"nbf": NOW + 30.5}, NOW + 0.5, None), ({"nbf": NOW + 30.5}, NOW + 0.25, "not_yet_valid"),
        ({"exp": NOW + 86_400.5}, NOW, "lifetime_too_long"), ({"exp": -0.5}, NOW, "malformed_exp"),
        ({"exp": 253_402_300_799.5}, NOW, "malformed_exp"), ({"iat": 1e300}, NOW, "malformed_iat"),
    ],
)  # fmt: skip
async def test_times_may_have_a_fraction_and_are_judged_with_it(
    issuer: Issuer, changes: dict[str, Any], now: float, code: str | None
) -> None:
    """Kind: a form that a standard allows (RFC 7519, section 2) is refused. The principal has whole seconds."""
    server = ResourceServer(issuer=ISSUER, audience=AUDIENCE, jwks=issuer.jwks, clock=lambda: now)
    token = issuer.token(**changes)
    if code is None:
        for _ in ("verified", "cached"):
            principal = await server.verify(token)
            times = (principal.issued_at, principal.expires_at)
            assert (int(changes.get("iat", NOW)), int(changes.get("exp", NOW + 300))) == times
            assert {int} == {type(one) for one in times}
    else:
        assert code == await reason(server, token)


@pytest.mark.parametrize(
    "cnf", [{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}, {"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"},
            {"jwk": {"kty": "EC"}}, {"kid": "a"}, {"unknown": 1}, {}, None, [], "x", True]
)  # fmt: skip
async def test_a_token_that_is_bound_to_a_key_is_refused_as_a_plain_bearer_token(
    server: ResourceServer, issuer: Issuer, cnf: Any
) -> None:
    """Kind: what cannot be checked is accepted. Such a token is bound to a key or a certificate (RFC 7800, 8705, 9449)."""
    assert "unsupported_cnf" == await reason(server, issuer.token(cnf=cnf))


@pytest.mark.parametrize("epoch", [0, 1, 1_900_000_000_000, 2**53])
async def test_an_epoch_is_part_of_the_principal(server: ResourceServer, issuer: Issuer, epoch: int) -> None:
    assert epoch == (await server.verify(issuer.token(epoch=epoch))).epoch


async def test_a_token_without_an_epoch_has_none(server: ResourceServer, issuer: Issuer) -> None:
    assert (await server.verify(issuer.token())).epoch is None


@pytest.mark.parametrize("epoch", [-1, 1.0, 1.5, 2**53 + 1, 10**30, "1", True, None, [], {}])
async def test_an_epoch_that_is_not_an_integer_from_0_to_2_to_the_53_is_refused(
    server: ResourceServer, issuer: Issuer, epoch: Any
) -> None:
    assert "malformed_epoch" == await reason(server, issuer.token(epoch=epoch))


@pytest.mark.parametrize(
    "change",
    [
        {"alg": "ES384"}, {"alg": "RS256"}, {"alg": "HS256"}, {"alg": "none"}, {"crv": "P-384"}, {"crv": "secp256k1"},
        {"kty": "RSA"}, {"kty": "oct"}, {"use": "enc"}, {"key_ops": ["sign"]}, {"key_ops": "verify"}, {"d": "AA"}, {"k": "AA"},
        {"x": "AA"}, {"x": None}, {"y": "!"}, {"kid": ""}, {"kid": None}, {"kid": 5}, {"alg": None},
        {"alg": 7}, {"crv": []}, {"kty": {}},
    ],
)  # fmt: skip
def test_a_key_that_must_not_verify_tokens_is_not_loaded(issuer: Issuer, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        VerifyingKey.from_jwk(issuer.key.public_jwk() | change)


@pytest.mark.parametrize("jwk", [None, [], "x", 1, {}])
def test_anything_else_than_a_key_is_not_loaded(jwk: Any) -> None:
    with pytest.raises(ValueError):
        VerifyingKey.from_jwk(jwk)


def test_short_keys_and_secrets_are_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    with pytest.raises(ValueError):
        SigningKey(rsa.generate_private_key(public_exponent=65537, key_size=1024), "RS256")
    with pytest.raises(ValueError):
        SigningKey(ec.generate_private_key(ec.SECP384R1()), "ES256")
    for secret in (b"", b"secret", b"a" * 31):
        with pytest.raises(ValueError):
            SharedSecretKey(secret)


def test_python_jose_uses_its_cryptography_backend() -> None:
    assert "jose.backends.cryptography_backend" == jose_jwk.get_key("ES256").__module__
