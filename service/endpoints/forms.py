"""Reads a form body (RFC 6749, appendix B) within limits. Stricter than a web framework: repeated parameters are refused."""

import asyncio
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from mintmark.errors import InvalidRequest

LARGEST = 32 * 1024
MOST_FIELDS = 64
SECONDS = 10


async def read_form(request: Request) -> dict[str, str]:
    """The parameters. An empty one counts as omitted (RFC 6749, section 3.2). Raises InvalidRequest."""
    content_types = request.headers.getlist("content-type")
    media_type, _, options = (content_types[0] if len(content_types) == 1 else "").partition(";")
    if media_type.strip().lower() != "application/x-www-form-urlencoded" or not _is_utf8(options):
        raise InvalidRequest("The Content-Type must be application/x-www-form-urlencoded.")
    try:
        async with asyncio.timeout(SECONDS):
            content = await _read(request)
    except TimeoutError as error:
        raise InvalidRequest("The request body did not arrive in time.") from error
    except ClientDisconnect as error:
        raise InvalidRequest("The request body did not arrive.") from error
    return parse_form(content)


def parse_form(content: bytes) -> dict[str, str]:
    """The parameters in a body. Raises InvalidRequest for what is not UTF-8, for NUL, and for a parameter that repeats."""
    try:
        text = content.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise InvalidRequest(f"The request body is not a form of UTF-8 text with at most {MOST_FIELDS} fields.") from error
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise InvalidRequest("A parameter is repeated.")
    if any("\0" in text for pair in pairs for text in pair):
        raise InvalidRequest("The request body has a NUL character.")
    return {name: value for name, value in parameters.items() if value}


async def _read(request: Request) -> bytes:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > LARGEST:
            raise InvalidRequest(f"The request body is larger than {LARGEST} bytes.")
    return bytes(content)


def _is_utf8(options: str) -> bool:
    name, _, value = options.strip().partition("=")
    return not name or (name.strip().lower() == "charset" and value.strip().strip('"').lower() == "utf-8")
