"""Errors of the service that OAuth has no code for. The composition root turns them into a response or an exit code."""

from collections.abc import Callable
from enum import StrEnum
from typing import Self

from authmint_service.sentences import sentence_for


class SettingsError(ValueError):
    """A setting is missing or wrong; the message names it and says what to do."""


class RefusedValue(Exception):
    """A value that a person gave is refused. The text is the English sentence of `code`, which `sentences` lists."""

    def __init__(self, code: str, *, field: str | None = None, **values: object) -> None:
        """`code`: for programs, as `password_too_short`; `field`: the name of the value; `values`: what the sentence needs."""
        super().__init__(sentence_for(code, values))
        self.code, self.field, self.values = code, field, values

    def sentence(self, translate: Callable[[str], str]) -> str:
        """Return the sentence in another language. `translate`: such as `gettext.GNUTranslations.gettext`."""
        return sentence_for(self.code, self.values, translate)

    def about(self, field: str) -> Self:
        """Return the same error about a value that has another name where it was given."""
        return type(self)(self.code, field=field, **self.values)


class AlreadyExists(RefusedValue):
    """A name is taken."""


class InvalidValue(RefusedValue, ValueError):
    """A value breaks a rule, or contradicts another."""


class DependencyError(RuntimeError):
    """A package that is installed lacks something that this service uses of it; the message names it and says what to do."""


class Unavailability(StrEnum):
    """Why the database cannot be used, as `/readyz` says it."""

    UNREACHABLE = "unreachable"
    """It does not answer, or not in time."""
    EXHAUSTED = "exhausted"
    """It has no connection left."""
    READ_ONLY = "read_only"
    """It takes no writes."""
    REFUSED = "refused"
    """It refuses the login, or a right."""
    FAILED = "failed"
    """It cannot do its work: its disk is full, for example."""


class DatabaseUnavailable(Exception):
    """The database did not answer, not in time, or refuses. The same request may succeed a little later."""

    retry_after = 2
    """Seconds."""

    def __init__(self, reason: str = "", kind: Unavailability = Unavailability.UNREACHABLE) -> None:
        """`reason`: in the database's own words; for the log and the command line, and for no response."""
        super().__init__(reason)
        self.kind = kind


class MigrationFailed(Exception):
    """The database refuses a statement of a migration, which is undone as a whole; the message says why."""


class SchemaOutdated(Exception):
    """The database answers, and its schema is not the one this version works with."""
