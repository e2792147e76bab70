"""What is wrong with single fields of a request, for `errors` in a problem document. Never the value that was sent."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi.exceptions import RequestValidationError

from authmint_service.errors import RefusedValue
from authmint_service.sentences import sentence_for_rule

_RULES = {
    "missing": "missing",
    "string_too_long": "too_long",
    "bytes_too_long": "too_long",
    "too_long": "too_long",
    "string_too_short": "too_short",
    "bytes_too_short": "too_short",
    "too_short": "too_short",
    "greater_than_equal": "too_small",
    "less_than_equal": "too_large",
    "uuid_parsing": "not_a_uuid",
    "uuid_type": "not_a_uuid",
    "int_parsing": "not_a_number",
    "int_parsing_size": "not_a_number",
    "int_type": "not_a_number",
    "int_from_float": "not_a_number",
    "extra_forbidden": "unknown_member",
    "repeated": "repeated",
}
"""Our rules by pydantic's types of errors, and `repeated`, which is ours. For every other type the rule is `invalid`."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One member of `errors`."""

    field: str
    """The name of the parameter, or of the member of a body: `address.city`."""
    code: str
    """For programs: the last name of the field, and the rule that it breaks."""
    detail: str
    """The sentence for people."""


def rule_error(field: str, rule: str, **values: object) -> FieldError:
    """Return the error of a field that breaks one of `sentences.RULES`."""
    return FieldError(field, f"{field.rpartition('.')[2]}_{rule}", sentence_for_rule(rule, field, values))


def value_error(error: RefusedValue) -> list[FieldError]:
    """Return the error of a value that a person gave, as a list; an empty one if it is about no field."""
    return [] if error.field is None else [FieldError(error.field, error.code, str(error))]


def validation_errors(error: RequestValidationError) -> list[FieldError]:
    """Return the errors that FastAPI found."""
    return [_validation_error(one) for one in error.errors()]


def _validation_error(error: Mapping[str, Any]) -> FieldError:
    kind, limits = error["type"], error.get("ctx", {})
    # The first part says where the field is: path, query, body. Some have a last one that is no field of ours: the name of a
    # member that is not known, or the place where JSON ends.
    names = error["loc"][1:-1] if kind in {"extra_forbidden", "json_invalid"} else error["loc"][1:]
    field = ".".join(map(str, names)) or "body"
    rule = _RULES.get(kind, "invalid")
    return rule_error(field, rule, minimum=limits.get("ge"), maximum=limits.get("le"))
