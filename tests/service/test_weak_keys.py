"""Private keys that others can find are not imported. Each is made here, in both forms, and refused with its own reason."""

import base64
import json
import math
from collections.abc import Callable
from functools import cached_property

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from authmint.jose import SigningKey, encode_base64url
from authmint_service.errors import InvalidValue
from authmint_service.signing_keys import read_imported_key
from tests.actors import OPERATOR
from tests.service.signing import NOW, empty_store, policy
from tests.service.test_imported_keys import pem as pem_of

E = 65_537
ORDER = ec.SECP256R1().group_order


def primes(bits: int) -> tuple[int, int]:
    numbers = rsa.generate_private_key(E, bits).private_numbers()
    return numbers.p, numbers.q


class Good:
    """Primes of good keys, made for the first test that needs them."""

    @cached_property
    def pair(self) -> tuple[int, int]:
        return primes(2048)

    @property
    def p(self) -> int:
        return self.pair[0]

    @property
    def q(self) -> int:
        return self.pair[1]

    @cached_property
    def other(self) -> int:
        return primes(2048)[0]

    @property
    def totient(self) -> int:
        return (self.p - 1) * (self.q - 1)


GOOD = Good()


def next_prime(number: int) -> int:
    """The next one with which 65537 is a good exponent."""
    small = math.prod(odd for odd in range(3, 2000, 2) if all(odd % other for other in range(3, math.isqrt(odd) + 1, 2)))
    while math.gcd(small, number) != 1 or pow(2, number - 1, number) != 1 or math.gcd(E, number - 1) != 1:
        number += 2
    return number


def numbers(p: int, q: int, *, n: int | None = None, e: int = E, d: int | None = None) -> dict[str, int]:
    """The members of an RSA key; what is not given is what it should be, as far as there is such a number."""
    modulus = p * q if n is None else n
    private = d if d is not None else pow(e, -1, math.lcm(p - 1, q - 1))
    inverse = pow(q, -1, p) if math.gcd(p, q) == 1 else 1
    return {"n": modulus, "e": e, "d": private, "p": p, "q": q, "dp": private % (p - 1), "dq": private % (q - 1), "qi": inverse}


def octets(number: int, size: int = 0) -> bytes:
    return number.to_bytes(size or max(1, (number.bit_length() + 7) // 8))


def as_jwk(members: dict[str, int]) -> bytes:
    return json.dumps({"kty": "RSA"} | {name: encode_base64url(octets(number)) for name, number in members.items()}).encode()


def der(tag: int, content: bytes) -> bytes:
    """One value in DER (X.690)."""
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x80 + len(octets(size))]) + octets(size)
    return bytes([tag]) + length + content


def as_pem(members: dict[str, int]) -> bytes:
    """PKCS #1 (RFC 8017, appendix A.1.2)."""
    values = [0, *(members[name] for name in ("n", "e", "d", "p", "q", "dp", "dq", "qi"))]
    content = der(0x30, b"".join(der(2, octets(value, value.bit_length() // 8 + 1)) for value in values))
    return b"-----BEGIN RSA PRIVATE KEY-----\n" + base64.encodebytes(content) + b"-----END RSA PRIVATE KEY-----\n"


def curve_pem(private: int) -> bytes:
    """SEC 1 (RFC 5915), without the public half."""
    p256 = der(0xA0, der(6, bytes.fromhex("2a8648ce3d030107")))
    content = der(0x30, der(2, b"\1") + der(4, octets(private, 32)) + p256)
    return b"-----BEGIN EC PRIVATE KEY-----\n" + base64.encodebytes(content) + b"-----END EC PRIVATE KEY-----\n"


def curve_jwk(private: int, point: tuple[int, int] | None = None) -> bytes:
    if point is None:
        public = ec.derive_private_key(private % ORDER or 1, ec.SECP256R1()).public_key().public_numbers()
        point = public.x, public.y
    members = dict(zip(("d", "x", "y"), (private, *point), strict=True))
    return json.dumps(
        {"kty": "EC", "crv": "P-256"} | {name: encode_base64url(octets(number, 32)) for name, number in members.items()}
    ).encode()


def with_small_private_exponent() -> dict[str, int]:
    private = next_prime(2**400 + 1)
    return numbers(GOOD.p, GOOD.q, e=pow(private, -1, GOOD.totient), d=private)


def no_prime() -> int:
    """A product of two primes that makes a modulus of 2048 bits with GOOD.q. With some it has one bit less."""
    return next(found for found in iter(lambda: math.prod(primes(1024)), 0) if (found * GOOD.q).bit_length() == 2048)


WEAK_RSA: dict[str, tuple[Callable[[], dict[str, int]], str]] = {
    "the exponent is one": (lambda: numbers(*GOOD.pair, e=1, d=1), "exponent is 1, so anybody can sign"),
    "the exponent is three": (lambda: numbers(*GOOD.pair, e=3, d=GOOD.totient // 2 + 1), "exponent is below 65537"),
    "the exponent is even": (lambda: numbers(*GOOD.pair, e=E + 1, d=GOOD.totient // 2 + 1), "exponent is even"),
    "the private exponent is small": (with_small_private_exponent, "Wiener"),
    "close primes": (lambda: numbers(GOOD.p, next_prime(GOOD.p + 2**300)), "primes are so close that they can be computed"),
    "neighbours": (lambda: numbers(GOOD.p, next_prime(GOOD.p + 2)), "primes are so close that they can be computed"),
    "one prime twice": (
        lambda: numbers(GOOD.p, GOOD.p, d=pow(E, -1, GOOD.p * (GOOD.p - 1))), "primes are so close that they can be computed",
    ),
    "a small factor": (lambda: numbers(257 * GOOD.p, GOOD.q, d=GOOD.totient // 2 + 1), "modulus can be divided by 257"),
    "an even modulus": (lambda: numbers(2 * GOOD.p, GOOD.q, d=GOOD.totient // 2 + 1), "modulus can be divided by 2"),
    "no prime": (lambda: numbers(no_prime(), GOOD.q), "is no prime"),
    "another modulus": (lambda: numbers(*GOOD.pair, n=GOOD.p * GOOD.other), "not the product of its primes"),
    "too short": (lambda: numbers(*primes(1024)), "it has 1024 bits"),
}  # fmt: skip


@pytest.mark.parametrize("name", WEAK_RSA)
def test_a_weak_rsa_key_is_refused_in_each_form_and_its_numbers_are_not_repeated(name: str) -> None:
    make, words = WEAK_RSA[name]
    members = make()
    for content in (as_jwk(members), as_pem(members)):
        with pytest.raises(InvalidValue, match=words) as raised:
            read_imported_key(content, None)
        assert str(members["p"])[:20] not in str(raised.value)
        assert 1 == str(raised.value).count("The key is refused")


@pytest.mark.slow
def test_a_short_prime_is_refused_although_the_modulus_is_long() -> None:
    members = numbers(primes(1024)[0], primes(3072)[0])
    for content in (as_jwk(members), as_pem(members)):
        with pytest.raises(InvalidValue, match="one of its primes has only 512 bits"):
            read_imported_key(content, None)


def test_the_same_numbers_chosen_well_are_accepted() -> None:
    assert read_imported_key(as_jwk(numbers(*GOOD.pair)), None).kid == read_imported_key(as_pem(numbers(*GOOD.pair)), None).kid
    private = ORDER // 3
    assert read_imported_key(curve_jwk(private), None).kid == read_imported_key(curve_pem(private), None).kid


@pytest.mark.parametrize("private", [1, 2, 2**192 - 1, ORDER - 1, ORDER - 2])
def test_a_private_number_that_can_be_guessed_is_refused(private: int) -> None:
    for content in (curve_jwk(private), curve_pem(private)):
        with pytest.raises(InvalidValue, match="private number is zero, one, or another that can be guessed"):
            read_imported_key(content, None)


@pytest.mark.parametrize("private", [0, ORDER, ORDER + 1])
def test_a_private_number_that_is_none_is_refused(private: int) -> None:
    with pytest.raises(InvalidValue, match="private number is zero"):
        read_imported_key(curve_jwk(private), None)
    with pytest.raises(InvalidValue, match="numbers do not fit together"):
        read_imported_key(curve_pem(private), None)


def test_a_point_beside_the_curve_and_that_of_another_key_are_refused() -> None:
    public = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    with pytest.raises(InvalidValue, match="not on the curve P-256"):
        read_imported_key(curve_jwk(ORDER // 3, (public.x, public.y ^ 1)), None)
    with pytest.raises(InvalidValue, match="do not belong together"):
        read_imported_key(curve_jwk(ORDER // 3, (public.x, public.y)), None)


def test_a_key_of_the_shape_of_cve_2017_15361_is_refused() -> None:
    from tests.library.test_keys_and_formats import key_that_can_be_factored  # makes keys when it is imported

    with pytest.raises(InvalidValue, match="CVE-2017-15361"):
        read_imported_key(pem_of(key_that_can_be_factored()), None)


@pytest.mark.anyio
async def test_a_key_that_has_a_prime_or_the_modulus_of_a_known_key_is_refused_and_the_known_one_is_named(
    server_dsn: str,
) -> None:
    known, rotation = SigningKey.from_pem(as_pem(numbers(*GOOD.pair))), policy("RS256")
    async with empty_store(server_dsn) as (_, _, store):
        await store.announce(known, rotation, NOW - 1000, actor=OPERATOR)
        for members, words in (
            (numbers(GOOD.p, GOOD.other), "has a prime of the key"),
            (numbers(*GOOD.pair, e=E + 2), "has the modulus of the key"),
        ):
            with pytest.raises(InvalidValue, match=words) as raised:
                await store.announce(read_imported_key(as_jwk(members), None), rotation, NOW, actor=OPERATOR)
            assert known.kid in str(raised.value)
        assert [known.kid] == [key.kid for key in await store.load()]
        unrelated = SigningKey.from_pem(as_pem(numbers(*primes(2048))))
        await store.announce(unrelated, rotation, NOW, actor=OPERATOR)
