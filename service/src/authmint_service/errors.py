"""Errors of the service that OAuth has no code for. The composition root turns them into a response or an exit code."""


class SettingsError(ValueError):
    """A setting is missing or wrong; the message names it and says what to do."""


class AlreadyExists(Exception):
    """A name is taken. The message names it."""


class InvalidValue(ValueError):
    """A value that a person gave is refused; the message says why, and never repeats a secret."""

    def __init__(self, message: str, *, code: str = "invalid_request", field: str | None = None) -> None:
        """`message`: a sentence for people; `code`: for programs, as `password_too_short`; `field`: the name of the value."""
        super().__init__(message)
        self.code, self.field = code, field


class DependencyError(RuntimeError):
    """A package that is installed lacks something that this service uses of it; the message names it and says what to do."""


class DatabaseUnavailable(Exception):
    """The database did not answer, or not in time. The same request may succeed a little later."""

    retry_after = 2
    """Seconds."""


class SchemaOutdated(Exception):
    """The database answers, and its schema is not the one this version works with."""
