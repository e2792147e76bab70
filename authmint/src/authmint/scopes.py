"""Scope sets (RFC 6749, section 3.3): text on the wire, `frozenset[str]` everywhere else."""

import re
from collections.abc import Collection

from authmint.errors import ConfigurationError, InvalidScope

_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


def is_scope_token(text: object) -> bool:
    """Return whether `text` is one scope: printable ASCII without space, quote and backslash."""
    return isinstance(text, str) and _SCOPE_TOKEN.fullmatch(text) is not None


def check_scopes(scopes: object) -> frozenset[str]:
    """Return the scopes that a setting lists. Raise ConfigurationError for what is none, and for one text: it is no list."""
    if isinstance(scopes, str) or not isinstance(scopes, Collection) or not all(map(is_scope_token, scopes)):
        raise ConfigurationError(
            "scopes must be a list of scopes, each a text of ASCII characters without space, quote and backslash."
        )
    return frozenset(scopes)


def parse_scope(text: str) -> frozenset[str]:
    """Return the scopes in a `scope` parameter or claim. An empty text is the empty set.

    Raise InvalidScope when a character is not allowed, or spaces are doubled, leading or trailing.
    """
    if not text:
        return frozenset()
    scopes = text.split(" ")
    if not all(map(is_scope_token, scopes)):
        raise InvalidScope("The scope parameter is malformed.")
    return frozenset(scopes)


def format_scope(scopes: Collection[str]) -> str:
    """Return the scopes as one text, sorted, so that equal sets read the same."""
    return " ".join(sorted(scopes))
