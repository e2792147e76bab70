"""What a new password must be (NIST SP 800-63B-4, section 3.1.1.2): long, and not one that is guessed first. Nothing else."""

from functools import cache

from zxcvbn.frequency_lists import FREQUENCY_LISTS

from authmint_service.errors import InvalidValue
from authmint_service.passwords.preparation import prepare_password

MIN_CONTEXT_WORD_LENGTH = 4
CONTEXT_WORDS = ("authmint",)


class PasswordPolicy:
    """Checks new passwords. Those that exist are never checked again: no periodic change, no sudden refusal."""

    def __init__(self, *, min_length: int, context_words: tuple[str, ...] = ()) -> None:
        """`min_length` counts code points; `context_words`: names of this service, which people like to use."""
        self._min_length, self._context_words = min_length, context_words

    def check(self, password: str, *, username: str) -> str:
        """The prepared password. Raises Invalid, with what to do."""
        prepared = prepare_password(password)
        if len(prepared) < self._min_length:
            raise InvalidValue(f"The password is too short: it needs {self._min_length} characters at least.")
        folded = prepared.casefold()
        if folded in _common():
            raise InvalidValue("The password is one of those that are guessed first. Choose another.")
        words = [word.casefold() for word in (username, *self._context_words) if len(word) >= MIN_CONTEXT_WORD_LENGTH]
        if any(len(folded.replace(word, "")) < self._min_length * 2 // 3 for word in words if word in folded):
            raise InvalidValue("The password is little more than your name or the name of this service. Choose another.")
        if len(set(folded)) <= 3:
            raise InvalidValue("The password repeats a few characters. Choose another.")
        return prepared


@cache
def _common() -> frozenset[str]:
    return frozenset(FREQUENCY_LISTS["passwords"])
