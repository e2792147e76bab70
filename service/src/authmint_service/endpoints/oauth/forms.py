"""Form bodies (RFC 6749, appendix B), read within limits. Stricter than a web framework: repeated parameters are refused."""

from collections.abc import Iterable, Mapping
from urllib.parse import unquote_to_bytes

from starlette.requests import Request

from authmint.errors import InvalidRequest

MAX_BODY_BYTES = 2 * 1024 * 1024
MAX_BUFFERED_BYTES = 32 * 1024
"""Of a body, in memory."""
MAX_FIELD_BYTES = 24 * 1024
MAX_FIELDS = 64
FORM_TYPE = b"application/x-www-form-urlencoded"
OPAQUE = frozenset({"refresh_token", "token"})
"""Their values may be any text: what is no token is refused by its reader."""
CREDENTIALS = frozenset({"username", "password"})
"""With a NUL they are wrong credentials, with the same response after the same time as all wrong credentials."""


async def read_form(request: Request) -> dict[str, str]:
    """Return the parameters. An empty one counts as omitted (RFC 6749, section 3.2). Raises InvalidRequest."""
    types = [value for name, value in request.scope["headers"] if name == b"content-type"]
    if types != [FORM_TYPE] and not (len(types) == 1 and _is_form(types[0].decode("latin-1"))):
        raise InvalidRequest("The Content-Type must be application/x-www-form-urlencoded.")
    return parse_form(await _read(request))


def parse_form(fields: Iterable[bytes]) -> dict[str, str]:
    """Return the parameters.

    Raises InvalidRequest for a field that is too long, is not UTF-8 or has a NUL, and for a repeated parameter.
    """
    parameters: dict[str, str] = {}
    for field in filter(None, fields):
        name, _, value = field.partition(b"=")
        text = _decode(name)
        if text in parameters:
            raise InvalidRequest("A parameter is repeated.")
        if text in OPAQUE:
            parameters[text] = _unquote(value).decode("utf-8", "surrogateescape")
        elif len(field) > MAX_FIELD_BYTES:
            raise InvalidRequest(f"A parameter is longer than {MAX_FIELD_BYTES} bytes.")
        else:
            parameters[text] = _decode(value, may_have_nul=text in CREDENTIALS)
    return {name: value for name, value in parameters.items() if value}


def required_token(parameters: Mapping[str, str]) -> str:
    """Return the parameter `token`. Raises InvalidRequest without it. A `token_type_hint` is not needed, so it is not read."""
    if "token" not in parameters:
        raise InvalidRequest("The parameter token is missing.")
    return parameters["token"]


async def _read(request: Request) -> list[bytes]:
    """Return the fields as they came. Of a field that is too long, keep the beginning: one byte more than is allowed.

    The server limits the time that a body may take to arrive: see `authmint_service.serving.limited_http`.
    """
    fields, read, is_more = [b""], 0, True
    while is_more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise InvalidRequest("The request body did not arrive.")
        chunk, is_more = message.get("body", b""), message.get("more_body", False)
        read += len(chunk)
        first, *others = chunk.split(b"&", MAX_FIELDS)
        fields[-1] += first[: MAX_FIELD_BYTES + 1 - len(fields[-1])]
        fields += [field[: MAX_FIELD_BYTES + 1] for field in others]
        if len(fields) > MAX_FIELDS:
            raise InvalidRequest(f"The request body has more than {MAX_FIELDS} fields.")
        if read > MAX_BODY_BYTES or sum(map(len, fields)) > MAX_BUFFERED_BYTES:
            raise InvalidRequest("The request body is too large.")
    return fields


def _unquote(quoted: bytes) -> bytes:
    return unquote_to_bytes(quoted.replace(b"+", b" "))


def _decode(quoted: bytes, *, may_have_nul: bool = False) -> str:
    try:
        quoted.decode("ascii")
        text = _unquote(quoted).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest("The request body is not a form of UTF-8 text.") from error
    if "\0" in text and not may_have_nul:
        raise InvalidRequest("The request body has a NUL character.")
    return text


def _is_form(content_type: str) -> bool:
    media_type, _, option = content_type.partition(";")
    name, _, value = option.strip().partition("=")
    is_utf8 = not name or (name.strip().lower() == "charset" and value.strip().strip('"').lower() == "utf-8")
    return is_utf8 and media_type.strip().lower() == FORM_TYPE.decode()
