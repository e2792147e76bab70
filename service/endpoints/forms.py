"""Reads a form body (RFC 6749, appendix B) within limits. Stricter than a web framework: repeated parameters are refused."""

import asyncio
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from starlette.requests import ClientDisconnect, Request

from mintmark.errors import InvalidRequest

LARGEST, MOST_HELD, LONGEST_FIELD, MOST_FIELDS = 2 * 1024 * 1024, 32 * 1024, 24 * 1024, 64
"""Bytes of a body, of what is held of it in memory, of one field; and fields."""
SECONDS = 10
OPAQUE = frozenset({"refresh_token", "token"})
"""Their values are for others to open, who say of any text whatever that it is no token of ours."""


async def read_form(request: Request) -> dict[str, str]:
    """The parameters. An empty one counts as omitted (RFC 6749, section 3.2). Raises InvalidRequest."""
    content_types = request.headers.getlist("content-type")
    media_type, _, options = (content_types[0] if len(content_types) == 1 else "").partition(";")
    if media_type.strip().lower() != "application/x-www-form-urlencoded" or not _is_utf8(options):
        raise InvalidRequest("The Content-Type must be application/x-www-form-urlencoded.")
    try:
        async with asyncio.timeout(SECONDS):
            fields = await _read(request)
    except TimeoutError as error:
        raise InvalidRequest("The request body did not arrive in time.") from error
    except ClientDisconnect as error:
        raise InvalidRequest("The request body did not arrive.") from error
    return parse_form(fields)


def parse_form(fields: Iterable[bytes]) -> dict[str, str]:
    """The parameters. Raises InvalidRequest for what is too long, not UTF-8, or has NUL, and for a parameter that repeats."""
    parameters: dict[str, str] = {}
    for field in filter(None, fields):
        name, _, value = field.partition(b"=")
        text = _decode(name)
        if text in parameters:
            raise InvalidRequest("A parameter is repeated.")
        if text in OPAQUE:
            parameters[text] = _unquote(value).decode("utf-8", "surrogateescape")
        elif len(field) > LONGEST_FIELD:
            raise InvalidRequest(f"A parameter is longer than {LONGEST_FIELD} bytes.")
        else:
            parameters[text] = _decode(value)
    return {name: value for name, value in parameters.items() if value}


async def _read(request: Request) -> list[bytes]:
    """The fields, each as it came. Of one that is too long only the beginning is held, one byte more than it may have."""
    fields, read = [bytearray()], 0
    async for chunk in request.stream():
        read += len(chunk)
        for number, part in enumerate(chunk.split(b"&", MOST_FIELDS)):
            if number:
                fields.append(bytearray())
            fields[-1] += part[: LONGEST_FIELD + 1 - len(fields[-1])]
        if len(fields) > MOST_FIELDS:
            raise InvalidRequest(f"The request body has more than {MOST_FIELDS} fields.")
        if read > LARGEST or sum(map(len, fields)) > MOST_HELD:
            raise InvalidRequest("The request body is too large.")
    return list(map(bytes, fields))


def _unquote(quoted: bytes) -> bytes:
    return unquote_to_bytes(quoted.replace(b"+", b" "))


def _decode(quoted: bytes) -> str:
    try:
        quoted.decode("ascii")
        text = _unquote(quoted).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest("The request body is not a form of UTF-8 text.") from error
    if "\0" in text:
        raise InvalidRequest("The request body has a NUL character.")
    return text


def _is_utf8(options: str) -> bool:
    name, _, value = options.strip().partition("=")
    return not name or (name.strip().lower() == "charset" and value.strip().strip('"').lower() == "utf-8")
