"""Passwords in one form, however a keyboard made them (RFC 8265, OpaqueString)."""

from functools import cache
from typing import Any

from precis_i18n import get_profile

from authmint_service.errors import InvalidValue

MAX_PASSWORD_LENGTH = 256


def prepare_password(text: str) -> str:
    """Prepare a password for hashing: every space is U+0020, NFC, nothing is cut, case is kept. Raises InvalidValue."""
    if not 0 < len(text) <= MAX_PASSWORD_LENGTH:
        raise InvalidValue(f"A password has at most {MAX_PASSWORD_LENGTH} characters.")
    try:
        password: str = _profile().enforce(text)
    except UnicodeError as error:
        raise InvalidValue("A password has no control characters.") from error
    return password


@cache
def _profile() -> Any:
    return get_profile("OpaqueString")
