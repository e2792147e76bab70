"""The policy for new passwords (NIST SP 800-63B-4, section 3.1.1.2): long, and not made of what is guessed first.

No kind of character is required. Existing passwords are never checked again: no periodic change, no sudden refusal.
"""

import asyncio
from typing import TYPE_CHECKING

from authmint_service.errors import InvalidValue
from authmint_service.passwords.preparation import prepare_password
from authmint_service.passwords.strength import estimate_strength

if TYPE_CHECKING:
    from authmint_service.passwords.breaches import BreachList

CONTEXT_WORDS = ("authmint",)
ENOUGH, PART_ENOUGH = 8.0, 0.6
"""What must be left of a password: characters, and never more than a part of its minimum length."""


class PasswordPolicy:
    """Check new passwords."""

    def __init__(
        self, *, min_length: int, context_words: tuple[str, ...] = CONTEXT_WORDS, breaches: "BreachList | None" = None
    ) -> None:
        """`min_length` counts code points; `context_words`: names of this service, which people like to use."""
        self._min_length, self._context_words, self._breaches = min_length, context_words, breaches
        # Two checks of one process never wait for each other in threads, of which the event loop has few.
        self._one_at_a_time = asyncio.Lock()

    async def check(self, password: str, *, username: str) -> str:
        """Return the prepared password. Raise InvalidValue with what to do."""
        prepared = prepare_password(password) if password else ""
        if len(prepared) < self._min_length:
            raise InvalidValue("password_too_short", field="password", minimum=self._min_length)
        async with self._one_at_a_time:
            await asyncio.to_thread(self._check_strength, prepared, username)
        if self._breaches is not None and await self._breaches.has(prepared):
            raise InvalidValue("password_breached", field="password")
        return prepared

    def _check_strength(self, prepared: str, username: str) -> None:
        enough = min(ENOUGH, self._min_length * PART_ENOUGH)
        strength = estimate_strength(prepared, (username, *self._context_words), enough=enough)
        if strength.left >= enough:
            return
        if strength.has_name:
            raise InvalidValue("password_too_similar", field="password")
        if strength.repeats:
            raise InvalidValue("password_repetitive", field="password")
        raise InvalidValue("password_too_common", field="password")
