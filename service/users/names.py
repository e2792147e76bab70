"""Names and passwords in one form, however a keyboard made them (RFC 8265: UsernameCaseMapped, OpaqueString)."""

from functools import cache
from typing import Any

from precis_i18n import get_profile

from service.errors import Invalid

LONGEST_USERNAME = 128
LONGEST_PASSWORD = 256


def prepare_username(text: str) -> str:
    """The name in the form it is stored and compared in: one width, lower case, NFC. Raises Invalid."""
    if not 0 < len(text) <= LONGEST_USERNAME:
        raise Invalid(f"A username has 1 to {LONGEST_USERNAME} characters.")
    try:
        name: str = _profile("UsernameCaseMapped").enforce(text)
    except UnicodeError as error:
        raise Invalid(
            "A username has letters, digits and punctuation of one direction, without spaces and controls."
        ) from error
    if len(name) > LONGEST_USERNAME:
        raise Invalid(f"A username has 1 to {LONGEST_USERNAME} characters.")
    return name


def prepare_password(text: str) -> str:
    """The password as it is hashed: any space is the plain one, NFC; nothing is cut and no case is changed. Raises Invalid."""
    if not 0 < len(text) <= LONGEST_PASSWORD:
        raise Invalid(f"A password has at most {LONGEST_PASSWORD} characters.")
    try:
        password: str = _profile("OpaqueString").enforce(text)
    except UnicodeError as error:
        raise Invalid("A password has no control characters.") from error
    return password


@cache
def _profile(name: str) -> Any:
    return get_profile(name)
