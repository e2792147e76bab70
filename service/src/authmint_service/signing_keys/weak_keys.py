"""Known tests for private keys that others can find. Each refuses with a reason of its own.

Cryptographic libraries check that the numbers of a key fit together, not that they were chosen well. `authmint.jose` has the
test for CVE-2017-15361, which all keys pass, also those of others.
"""

import math
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from authmint.jose import decode_base64url
from authmint_service.errors import InvalidValue

RSA_BITS = range(2048, 4097)
MIN_EXPONENT = 65_537
CLOSE_BITS = 100
"""By how many bits the difference of two primes may be shorter than the primes (FIPS 186-5, A.1.3)."""
SHORT_BITS = 64
"""By how many bits the private number of a curve may be shorter than the curve. A random one is so in one of 2**64 cases."""
MAX_SMALL_FACTOR = 10_000
CURVES: Mapping[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


def check_rsa(key: rsa.RSAPrivateNumbers) -> None:
    """Raise InvalidValue if the primes of a key can be found, or if everybody can sign with it."""
    modulus, exponent = key.public_numbers.n, key.public_numbers.e
    bits = modulus.bit_length()
    # First, as the tests below would take long for an enormous number.
    if bits not in RSA_BITS:
        raise InvalidValue("key_size_out_of_range", field="key", bits=bits, minimum=RSA_BITS[0], maximum=RSA_BITS[-1])
    _check_exponents(exponent, key.d, bits)
    _check_primes(modulus, key.p, key.q)


def _check_exponents(exponent: int, private: int, bits: int) -> None:
    if exponent == 1:
        raise InvalidValue("key_exponent_one", field="key")
    if exponent % 2 == 0:
        raise InvalidValue("key_exponent_even", field="key")
    if exponent < MIN_EXPONENT:
        raise InvalidValue("key_exponent_too_small", field="key", minimum=MIN_EXPONENT)
    # Wiener's attack finds an exponent of a quarter of the bits; FIPS 186-5, A.1.1 asks for more than the half.
    if private.bit_length() <= bits // 2:
        raise InvalidValue("key_private_number_too_small", field="key")


def _check_primes(modulus: int, p: int, q: int) -> None:
    factor = next((number for number in range(2, MAX_SMALL_FACTOR) if modulus % number == 0), None)
    if factor is not None:
        raise InvalidValue("key_small_factor", field="key", factor=factor)
    if p * q != modulus:
        raise InvalidValue("key_primes_wrong", field="key")
    half = (modulus.bit_length() + 1) // 2
    if min(p, q).bit_length() < half - 1:
        raise InvalidValue("key_prime_short", field="key", bits=min(p, q).bit_length())
    # Fermat's test with base 2: the few composite numbers that pass it are refused when the key is read.
    if any(pow(2, prime - 1, prime) != 1 for prime in (p, q)):
        raise InvalidValue("key_not_of_primes", field="key")
    if abs(p - q).bit_length() <= half - CLOSE_BITS:
        raise InvalidValue("key_primes_close", field="key")


def check_ec(crv: str, private: int, x: int, y: int) -> None:
    """Raise InvalidValue if a key of a curve (RFC 7518, section 6.2.1.1) is no key, or if its private number can be guessed."""
    curve = CURVES[crv]
    try:
        public = ec.EllipticCurvePublicNumbers(x, y, curve)
        public.public_key()
    except ValueError as error:
        raise InvalidValue("key_point_off_curve", field="key", curve=crv) from error
    order = curve.group_order
    if not 0 < private < order or min(private, order - private).bit_length() <= curve.key_size - SHORT_BITS:
        raise InvalidValue("key_private_number_guessable", field="key")
    if ec.derive_private_key(private, curve).public_key().public_numbers() != public:
        raise InvalidValue("key_halves_differ", field="key")


def check_unrelated(jwk: Mapping[str, str], others: Mapping[str, Mapping[str, str]]) -> None:
    """Raise InvalidValue if a modulus has a prime of another one: then everybody can compute both. `others`: by `kid`."""
    if "n" not in jwk:
        return
    modulus = _modulus(jwk)
    for kid, other in others.items():
        common = math.gcd(modulus, _modulus(other)) if "n" in other else 1
        if common == modulus:
            raise InvalidValue("key_modulus_known", field="key", kid=kid)
        if common != 1:
            raise InvalidValue("key_prime_shared", field="key", kid=kid)


def _modulus(jwk: Mapping[str, str]) -> int:
    return int.from_bytes(decode_base64url(jwk["n"]))
