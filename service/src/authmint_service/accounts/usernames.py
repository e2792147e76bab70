"""Usernames in one form, however a keyboard made them (RFC 8265, UsernameCaseMapped)."""

from functools import cache
from typing import Any

from precis_i18n import get_profile

from authmint_service.errors import InvalidValue

MAX_USERNAME_LENGTH = 128


def prepare_username(text: str) -> str:
    """The name in the form it is stored and compared in: one width, lower case, NFC. Raises Invalid."""
    if not 0 < len(text) <= MAX_USERNAME_LENGTH:
        raise InvalidValue(f"A username has 1 to {MAX_USERNAME_LENGTH} characters.")
    try:
        name: str = _profile().enforce(text)
    except UnicodeError as error:
        raise InvalidValue(
            "A username has letters, digits and punctuation of one direction, without spaces and controls."
        ) from error
    if len(name) > MAX_USERNAME_LENGTH:
        raise InvalidValue(f"A username has 1 to {MAX_USERNAME_LENGTH} characters.")
    return name


@cache
def _profile() -> Any:
    return get_profile("UsernameCaseMapped")
