"""What counts as a guessable secret, and that no random key ever does."""

import base64
import json
import secrets
import sys
from collections.abc import Callable

import pytest
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from authmint import ConfigurationError, ResourceServer
from authmint.jose import SharedSecretKey
from authmint.secret_strength import MIN_BITS, estimate_bits, is_guessable

COUNTED = bytes(range(32))
GUESSABLE = {
    "a password and signs": b"password123!!!!!!!!!!!!!!!!!!!!!",
    "a password, repeated": b"password123 password123 password123!!",
    "a password, spelt with digits": b"P4ssw0rd!P4ssw0rd?P4ssw0rd.P4ssw",
    "a password, counted": b"secret1secret2secret3secret4secret5",
    "one letter": b"a" * 32,
    "zeros": bytes(32),
    "counted bytes": COUNTED,
    "the same as hexadecimal": COUNTED.hex().encode(),
    "the same as base64": base64.b64encode(COUNTED),
    "counted down": bytes(range(255, 191, -1)),
    "counted in threes": bytes(range(0, 96, 3)),
    "a password as base64": base64.b64encode(b"password123password123password!!"),
    "one letter as base64": base64.b64encode(b"a" * 32),
    "a pattern of eight bytes": bytes.fromhex("9f3c07d15be8a264") * 4,
    "hexadecimal of few symbols": b"01100101" * 8,
    "pairs of digits": b"00112233445566778899aabbccddeeff",
    "words of hexadecimal digits": b"deadbeefdeadbeefdeadbeefcafebabe",
    "the alphabet": b"abcdefghijklmnopqrstuvwxyz012345",
    "rows of the keyboard": b"qwertyuiopasdfghjklzxcvbnm123456",
    "columns of the keyboard": b"1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9",
    "the digits of pi": b"3.14159265358979323846264338327950288",
    "an example of a manual": b"your-256-bit-secret-your-256-bit-secret",
    "another example": b"a-string-secret-at-least-256-bits-long",
    "words with hyphens": b"this-is-a-very-secret-key-for-jwt-signing",
    "words with capitals": b"MySuperSecretKeyForJwtTokens2024!",
    "words that are base64": b"ThisIsMyVerySecretKeyEncryptionKeyForAuthmx=",
    "advice": b"change-me-to-a-long-random-string-please",
    "four words": b"correct horse battery staple correct",
    "six words": b"alpine tundra velvet crumpet sandal octave",
}
RANDOM: dict[str, Callable[[], bytes]] = {
    "raw": lambda: secrets.token_bytes(32),
    "hex": lambda: secrets.token_hex(32).encode(),
    "base64": lambda: base64.b64encode(secrets.token_bytes(32)),
    "base64url": lambda: secrets.token_urlsafe(32).encode(),
}


@pytest.mark.parametrize("name", GUESSABLE)
def test_what_people_type_and_programs_count_is_refused_as_a_shared_secret(name: str) -> None:
    secret = GUESSABLE[name]
    with pytest.raises(ValueError, match="can be guessed"):
        SharedSecretKey(secret)
    with pytest.raises(ConfigurationError, match="shared_secret is too weak") as raised:
        ResourceServer(issuer="https://auth.example", audience="orders", shared_secret=secret)
    assert secret.decode("latin-1") not in str(raised.value)


def test_a_hundred_common_passwords_are_refused_however_long_they_are_made() -> None:
    for password in list(FREQUENCY_LISTS["passwords"])[:100]:
        for spelling in (password * 8, f"{password}{password[::-1]}" * 4, f"{password.upper()}-2026!" * 4):
            assert is_guessable(spelling[:64].encode()), spelling


def test_a_long_secret_takes_no_time() -> None:
    for secret in (b"a" * 1024, secrets.token_bytes(1024), secrets.token_urlsafe(768).encode()):
        assert estimate_bits(secret) >= 0


@pytest.mark.parametrize("spelling", RANDOM)
def test_no_random_key_is_refused(spelling: str) -> None:
    assert_none_is_refused(spelling, 500)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("spelling", RANDOM)
def test_no_random_key_in_a_million_is_refused(spelling: str) -> None:
    smallest = assert_none_is_refused(spelling, 1_000_000)
    sys.stdout.write(json.dumps({"keys": 1_000_000, "spelling": spelling, "refused": 0, "bits": round(smallest)}) + "\n")


def test_sixteen_random_bytes_as_hexadecimal_are_enough() -> None:
    assert not any(is_guessable(secrets.token_hex(16).encode()) for _ in range(500))


def assert_none_is_refused(spelling: str, count: int) -> float:
    """Return the smallest estimate of so many random keys."""
    smallest = min(estimate_bits(RANDOM[spelling]()) for _ in range(count))
    assert smallest >= MIN_BITS
    return smallest
