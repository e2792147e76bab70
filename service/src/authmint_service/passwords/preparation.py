"""One form for each password, independent of the keyboard (RFC 8265, OpaqueString)."""

from functools import cache
from typing import Any

from precis_i18n import get_profile

from authmint_service.errors import InvalidValue

MAX_PASSWORD_LENGTH = 256


def prepare_password(text: str) -> str:
    """Prepare a password for hashing: every space is U+0020, NFC, nothing is cut, case is kept. Raise InvalidValue."""
    if not text:
        raise InvalidValue("password_missing", field="password")
    if len(text) > MAX_PASSWORD_LENGTH:
        raise InvalidValue("password_too_long", field="password", maximum=MAX_PASSWORD_LENGTH)
    try:
        password: str = _profile().enforce(text)
    except UnicodeError as error:
        raise InvalidValue("password_invalid_characters", field="password") from error
    return password


@cache
def _profile() -> Any:
    return get_profile("OpaqueString")
