"""The last six characters of the secrets that this service hands out. Secret scanners recognise them; they protect nothing."""

import string
import zlib

LENGTH = 6
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_PAIRS = [first + second for first in _DIGITS for second in _DIGITS]


def checksum(text: str) -> str:
    """Return the CRC32 of an ASCII text in base62, LENGTH characters."""
    rest, last = divmod(zlib.crc32(text.encode("ascii")), len(_PAIRS))
    first, middle = divmod(rest, len(_PAIRS))
    return _PAIRS[first] + _PAIRS[middle] + _PAIRS[last]
