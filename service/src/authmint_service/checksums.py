"""The last six characters of the secrets that this service hands out. Secret scanners recognise them; they protect nothing."""

import string
import zlib

LENGTH = 6
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase


def checksum(text: str) -> str:
    """Return the CRC32 of an ASCII text in base62, LENGTH characters."""
    number, digits = zlib.crc32(text.encode("ascii")), ""
    for _ in range(LENGTH):
        number, digit = divmod(number, 62)
        digits = _DIGITS[digit] + digits
    return digits
