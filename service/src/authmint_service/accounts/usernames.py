"""One form for each username, independent of the keyboard (RFC 8265, UsernameCaseMapped)."""

from functools import cache
from typing import Any

from precis_i18n import get_profile

from authmint_service.errors import InvalidValue

MAX_USERNAME_LENGTH = 128


def prepare_username(text: str) -> str:
    """Return the username in the form that is stored and compared: one width, lower case, NFC. Raise InvalidValue."""
    if not text:
        raise InvalidValue("username_too_short", field="username", maximum=MAX_USERNAME_LENGTH)
    if len(text) > MAX_USERNAME_LENGTH:
        raise InvalidValue("username_too_long", field="username", maximum=MAX_USERNAME_LENGTH)
    try:
        name: str = _profile().enforce(text)
    except UnicodeError as error:
        raise InvalidValue("username_invalid_characters", field="username") from error
    if len(name) > MAX_USERNAME_LENGTH:
        raise InvalidValue("username_too_long", field="username", maximum=MAX_USERNAME_LENGTH)
    # Usernames and addresses share one name space: a name with an @ is an address.
    if "@" in name:
        raise InvalidValue("username_is_address", field="username")
    return name


@cache
def _profile() -> Any:
    return get_profile("UsernameCaseMapped")
