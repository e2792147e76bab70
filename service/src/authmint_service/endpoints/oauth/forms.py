"""Form bodies (RFC 6749, appendix B), read within limits.

Stricter than a web framework: a parameter that is repeated is refused, unless the form's rules say that it may be.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from starlette.requests import Request

from authmint.errors import InvalidRequest
from authmint.values import value_type
from authmint_service.sentences import sentence_for_rule

MAX_BODY_BYTES = 2 * 1024 * 1024
MAX_BUFFERED_BYTES = 32 * 1024
"""Of a body, in memory."""
MAX_FIELD_BYTES = 24 * 1024
MAX_FIELDS = 64
FORM_TYPE = b"application/x-www-form-urlencoded"


NAMES = frozenset({
    "grant_type", "scope", "resource", "client_id", "client_secret", "token", "token_type_hint", "refresh_token",
    "current_password", "new_password",
})  # fmt: skip
"""The parameters of all forms, but for those that a grant has of its own."""


@dataclass(frozen=True, slots=True)
class FormRules:
    """Which parameters of a form are not read like the others, and which there are."""

    names: frozenset[str] = NAMES
    """An error names these. Any other name was made up by the client, and is not repeated."""
    opaque: frozenset[str] = frozenset({"refresh_token", "token"})
    """Their values may be any text: what is no token is refused by its reader."""
    credentials: frozenset[str] = frozenset()
    """They may have a NUL: it makes them wrong credentials."""
    repeatable: frozenset[str] = frozenset()
    """They may be there more than once."""


@value_type()
class Form:
    """The parameters that a form has; one that is empty counts as omitted (RFC 6749, section 3.2)."""

    parameters: dict[str, str]
    """The value of each; of one that is repeatable, the first."""
    repeated: dict[str, tuple[str, ...]]
    """All values of those that are repeatable."""


PLAIN_FORM = FormRules()


class InvalidParameter(InvalidRequest):
    """One parameter of a form cannot be read."""

    def __init__(self, rule: str, name: str, rules: FormRules) -> None:
        """`rule`: one of `sentences.RULES`."""
        self.rule, self.name = rule, name if name in rules.names else None
        super().__init__(sentence_for_rule(rule, "A parameter" if self.name is None else f"The parameter {name}", {}))


async def read_form(request: Request) -> dict[str, str]:
    """Return the parameters of a form without repeatable ones. Raises InvalidRequest."""
    return (await read_form_by(PLAIN_FORM, request)).parameters


async def read_form_by(rules: FormRules, request: Request) -> Form:
    """Return a form that is read by `rules`. Raises InvalidRequest."""
    types = [value for name, value in request.scope["headers"] if name == b"content-type"]
    if types != [FORM_TYPE] and not (len(types) == 1 and _is_form(types[0].decode("latin-1"))):
        raise InvalidRequest("The Content-Type must be application/x-www-form-urlencoded.")
    return parse_form(await _read(request), rules)


def parse_form(fields: Iterable[bytes], rules: FormRules = PLAIN_FORM) -> Form:
    """Return the form.

    Raises InvalidRequest for a field that is too long, is not UTF-8 or has a NUL, and for a repeated parameter.
    """
    parameters: dict[str, str] = {}
    repeated: dict[str, tuple[str, ...]] = {}
    for field in filter(None, fields):
        quoted, _, value = field.partition(b"=")
        name = _decode(quoted)
        if "\0" in name:
            raise InvalidRequest("The name of a parameter has a NUL character.")
        if name in parameters and name not in rules.repeatable:
            raise InvalidParameter("repeated", name, rules)
        if name in rules.opaque:
            text = _unquote(value).decode("utf-8", "surrogateescape")
        elif len(field) > MAX_FIELD_BYTES:
            raise InvalidParameter("too_long", name, rules)
        else:
            text = _decode_value(value, name, rules)
        if name in rules.repeatable and text:
            repeated[name] = (*repeated.get(name, ()), text)
        parameters[name] = parameters.get(name) or text
    return Form({name: text for name, text in parameters.items() if text}, repeated)


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


def _decode_value(quoted: bytes, name: str, rules: FormRules) -> str:
    try:
        text = _decode(quoted)
    except InvalidRequest as error:
        raise InvalidParameter("invalid_characters", name, rules) from error
    if "\0" in text and name not in rules.credentials:
        raise InvalidParameter("invalid_characters", name, rules)
    return text


def _decode(quoted: bytes) -> str:
    try:
        quoted.decode("ascii")
        return _unquote(quoted).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest("The request body is not a form of UTF-8 text.") from error


def _is_form(content_type: str) -> bool:
    media_type, _, option = content_type.partition(";")
    name, _, value = option.strip().partition("=")
    is_utf8 = not name or (name.strip().lower() == "charset" and value.strip().strip('"').lower() == "utf-8")
    return is_utf8 and media_type.strip().lower() == FORM_TYPE.decode()
