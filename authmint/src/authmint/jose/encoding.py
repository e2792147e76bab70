"""base64url (RFC 4648, section 5, no padding) and JSON, decoded strictly: one value, one spelling. Errors are ValueError."""

import binascii
import json
from collections.abc import Sequence
from typing import Any, NoReturn

MAX_NESTING = 16

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
# The characters that may come last, by how many stand in the last group of four: the rest would leave bits over, and one
# value would have several spellings.
_LAST = {2: "AQgw", 3: "AEIMQUYcgkosw048"}


def encode_base64url(content: bytes) -> str:
    """Return `content` in base64url, without padding."""
    return binascii.b2a_base64(content, newline=False).decode().replace("+", "-").replace("/", "_").rstrip("=")


def decode_base64url(text: str) -> bytes:
    """Return the bytes of `text`. Raise ValueError for padding, foreign characters, and bits left over."""
    rest = len(text) % 4
    encoded = text.encode("ascii")
    # To delete the alphabet and see what is left costs a tenth of a regular expression. It is done three times for a token.
    if rest == 1 or (rest and text[-1] not in _LAST[rest]) or encoded.translate(None, _ALPHABET):
        raise ValueError("not canonical base64url")
    return binascii.a2b_base64(encoded.translate(_TO_STANDARD) + b"==")


def read_json_object(content: bytes) -> dict[str, Any]:
    """Return a JSON object from UTF-8. Raise ValueError for anything else.

    Refused as well: members that repeat, NaN and Infinity, more than 16 levels, numbers that overflow, half a surrogate pair.
    """
    text = content.decode("utf-8")
    try:
        value = _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    # Counting brackets is quick, and few brackets cannot nest deeply; only the rare rest is walked.
    if text.count("{") + text.count("[") > MAX_NESTING and _depth(value) > MAX_NESTING:
        raise ValueError("nested too deeply")
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _depth(value: object) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        containers = [one for one in level if isinstance(one, dict | list)]
        level = [inner for one in containers for inner in (one.values() if isinstance(one, dict) else one)]
    return depth


def _unique(members: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) != len(members):
        raise ValueError("a member repeats")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number overflows")
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
