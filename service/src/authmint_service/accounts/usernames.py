"""One form for each username, independent of the keyboard (RFC 8265, UsernameCaseMapped)."""

from functools import cache
from typing import Any

from precis_i18n import get_profile

from authmint_service.errors import InvalidValue

MAX_USERNAME_LENGTH = 128


def prepare_username(text: str) -> str:
    """Return the username in the form that is stored and compared: one width, lower case, NFC. Raise InvalidValue."""
    if not text:
        raise _refused(f"A username has 1 to {MAX_USERNAME_LENGTH} characters.", "too_short")
    if len(text) > MAX_USERNAME_LENGTH:
        raise _refused(f"A username has 1 to {MAX_USERNAME_LENGTH} characters.", "too_long")
    try:
        name: str = _profile().enforce(text)
    except UnicodeError as error:
        message = "A username has letters, digits and punctuation of one direction, without spaces and controls."
        raise _refused(message, "invalid_characters") from error
    if len(name) > MAX_USERNAME_LENGTH:
        raise _refused(f"A username has 1 to {MAX_USERNAME_LENGTH} characters.", "too_long")
    # Usernames and addresses share one name space: a name with an @ is an address.
    if "@" in name:
        raise _refused("A username has no @.", "invalid_characters")
    return name


def _refused(message: str, rule: str) -> InvalidValue:
    return InvalidValue(message, code=f"username_{rule}", field="username")


@cache
def _profile() -> Any:
    return get_profile("UsernameCaseMapped")
