"""Estimate how many guesses a secret withstands, so that a password in the place of a key is refused.

It knows what people type and what programs count up: words, repeats, sequences, rows of a keyboard, few symbols, and all of
these under hexadecimal or base64. It is for keys that should be random, and does not know which random texts are public.
"""

import base64
import binascii
import math
import re
from contextlib import suppress

MIN_BITS = 80.0
"""Bits below which a secret counts as guessable. 16 random bytes as hexadecimal text have 128, 32 random bytes 256."""
_REPEAT_BITS, _KNOWN_BITS, _WORD_BITS = 10.0, 8.0, 13.0
"""The price of a repeat or a sequence; of a known word or a row of keys; of any word in a sentence. Whatever their length."""
_MIN_KNOWN = 3
_SEPARATORS = " -_.,:;/"
_WORD = re.compile(rf"(?<![A-Za-z0-9])[A-Za-z][a-z]{{2,14}}(?![A-Za-z0-9])[{_SEPARATORS}]?")
_BYTE_BITS = 8.0
_MIN_DECODED_BYTES = 16

_ROWS = (
    "1234567890-= 01234567890 qwertyuiop[] asdfghjkl;' zxcvbnm,./ !@#$%^&*()_+ qwertzuiop yxcvbnm azertyuiop qsdfghjklm "
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p qazwsxedcrfvtgbyhnujmikolp abcdefghijklmnopqrstuvwxyz "
)
_WORDS = (
    "password passphrase passwd secret private public shared signing signature encryption encrypt decrypt refresh access "
    "tokens bearer session cookie jsonwebtoken jwt keys api app web auth authentication authorization authmint oauth openid "
    "issuer admin administrator root user username login account client server service system database postgres backend "
    "frontend changeme change-me please replace this thisismy with your own example sample default development production "
    "staging testing demo local localhost insecure secure super very strong random string not for real enter here some any "
    "that is the and are you was have from longest long-enough more than only never must should value placeholder dummy "
    "fixme todo hello world welcome letmein iloveyou dragon monkey football baseball master sunshine princess shadow trustno "
    "summer winter spring autumn company 2022 2023 2024 2025 2026 2027 256-bit 512-bit hmac sha256 hs256 at least characters "
    "minimum bytes deadbeef cafebabe lorem ipsum dolor sit amet consectetur adipiscing elit quick brown fox jumps over lazy "
    "dog "
    "31415926535897932384626433832795028841971693993751058209749445923078164062862089986280348253421170679 "
    "27182818284590452353602874713526624977572470936999595749669676277240766303535475945713821785251664274 "
)
_KNOWN = _ROWS + _ROWS[::-1] + _WORDS
_BEGINNINGS = frozenset(_KNOWN[at : at + _MIN_KNOWN] for at in range(len(_KNOWN)))
_LEET = str.maketrans("013457@$", "oieastas")


def estimate_bits(secret: bytes) -> float:
    """Return the base-2 logarithm of the guesses that find `secret`, by its simplest reading."""
    readings = [_describe(secret, math.log2(_alphabet_size(secret)))]
    readings += [_describe(decoded, _BYTE_BITS) for decoded in _decoded(secret)]
    return min(readings)


def is_guessable(secret: bytes) -> bool:
    """Return whether the estimate is below MIN_BITS. False for 32 random bytes, raw, as hexadecimal text or as base64."""
    return estimate_bits(secret) < MIN_BITS


def _alphabet_size(secret: bytes) -> int:
    """Return from how many symbols as many random ones as `secret` has would be expected to show as many different ones."""
    count, different = len(secret), len(set(secret))
    for size in range(max(different, 1), 256):
        if size * (1 - (1 - 1 / size) ** count) >= different - 0.5:
            return size
    return 256


def _decoded(secret: bytes) -> list[bytes]:
    """Return what `secret` is in hexadecimal or base64, if it may be that."""
    found = []
    text = secret.strip()
    with suppress(ValueError):
        found.append(binascii.unhexlify(text))
    with suppress(ValueError):
        padded = text.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
        found.append(base64.b64decode(padded + b"=" * (-len(padded) % 4), validate=True))
    return [one for one in found if len(one) >= _MIN_DECODED_BYTES]


def _describe(secret: bytes, symbol_bits: float) -> float:
    """Return the bits of a description of `secret`: one symbol after another, or a pattern where it is cheaper."""
    text = secret.decode("latin-1")
    spellings = {text.lower(), text.lower().translate(_LEET)}
    # Differences, not symbols: a sequence has the same one again and again, and a repeat has them again.
    steps = bytes((symbol - before) % 256 for before, symbol in zip(b"\0" + secret, secret, strict=False))
    bits, at = 0.0, 0
    while at < len(secret):
        word = _WORD.match(text, at)
        patterns = (
            (_repeat(steps, at), _REPEAT_BITS),
            (max(_known(spelling, at) for spelling in spellings), _KNOWN_BITS),
            (word.end() - at if word else 0, _WORD_BITS),
        )
        saved, length, price = max((length * symbol_bits - price, length, price) for length, price in patterns)
        if saved <= 0:
            length, price = 1, symbol_bits
        bits += price
        at += length
    return bits


def _repeat(steps: bytes, at: int) -> int:
    """Return how many steps from `at` on are those from an earlier place on."""
    length = 0
    while at + length < len(steps) and steps.find(steps[at : at + length + 1], 0, at + length) >= 0:
        length += 1
    return length


def _known(text: str, at: int) -> int:
    """Return how much of `text` from `at` on is a known word or row of keys, with the separator after it."""
    if text[at : at + _MIN_KNOWN] not in _BEGINNINGS or at + _MIN_KNOWN > len(text):
        return 0
    length = _MIN_KNOWN
    while at + length < len(text) and text[at : at + length + 1] in _KNOWN:
        length += 1
    return length + text.startswith(tuple(_SEPARATORS), at + length)
