"""Check what constructors are given, so that a wrong setting fails at the start, by its name, and not in a request."""

from collections.abc import Mapping
from typing import Any

from authmint.errors import ConfigurationError

Expected = Mapping[str, tuple[Any, str]]
"""What each setting must be: a type or a union of some, and the same in words."""


def check_types(settings: Mapping[str, Any], expected: Expected) -> None:
    """Raise ConfigurationError for the first of the settings that is of another type. `settings` may have more members."""
    for name, (types, words) in expected.items():
        if not isinstance(settings[name], types):
            raise ConfigurationError(f"{name} must be {words}.")
