"""The policy for new passwords (NIST SP 800-63B-4, section 3.1.1.2): long, not among the first guesses, and nothing else."""

from functools import cache

from zxcvbn.frequency_lists import FREQUENCY_LISTS

from authmint_service.errors import InvalidValue
from authmint_service.passwords.preparation import prepare_password

MIN_CONTEXT_WORD_LENGTH = 4
CONTEXT_WORDS = ("authmint",)


class PasswordPolicy:
    """Check new passwords. Existing ones are never checked again: no periodic change, no sudden refusal."""

    def __init__(self, *, min_length: int, context_words: tuple[str, ...] = ()) -> None:
        """`min_length` counts code points; `context_words`: names of this service, which people like to use."""
        self._min_length, self._context_words = min_length, context_words

    def check(self, password: str, *, username: str) -> str:
        """Return the prepared password. Raise InvalidValue with what to do."""
        prepared = prepare_password(password) if password else ""
        if len(prepared) < self._min_length:
            raise InvalidValue("password_too_short", field="password", minimum=self._min_length)
        folded = prepared.casefold()
        if folded in _common():
            raise InvalidValue("password_too_common", field="password")
        words = [word.casefold() for word in (username, *self._context_words) if len(word) >= MIN_CONTEXT_WORD_LENGTH]
        if any(len(folded.replace(word, "")) < self._min_length * 2 // 3 for word in words if word in folded):
            raise InvalidValue("password_too_similar", field="password")
        if len(set(folded)) <= 3:
            raise InvalidValue("password_repetitive", field="password")
        return prepared


@cache
def _common() -> frozenset[str]:
    return frozenset(FREQUENCY_LISTS["passwords"])
