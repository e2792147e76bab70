"""A person changes their password: who knows the old one may, and every other session ends with it (ASVS 7.4.3)."""

from collections.abc import Callable

from authmint_service.accounts.store import AccountStore
from authmint_service.errors import InvalidValue
from authmint_service.passwords.hasher import PasswordHasher
from authmint_service.passwords.policy import PasswordPolicy
from authmint_service.passwords.preparation import prepare_password


class WrongPassword(Exception):
    """The current password is another one."""


class PasswordChange:
    """Changes passwords."""

    def __init__(self, store: AccountStore, hasher: PasswordHasher, rules: PasswordPolicy, clock: Callable[[], float]) -> None:
        """`clock`: seconds since the epoch."""
        self._store, self._hasher, self._rules, self._clock = store, hasher, rules, clock

    async def change(self, account_id: str, *, current: str, new: str, except_session_id: str) -> None:
        """No other session of theirs is live once this returns.

        Raises WrongPassword, Invalid with what is wrong with the new one, and TemporarilyUnavailable when too many wait.
        """
        user = await self._store.find(account_id)
        if user is None or not user.enabled or not await self._is_right(current, user.password_hash):
            raise WrongPassword
        new_hash = await self._hasher.hash(self._rules.check(new, username=user.username))
        if not await self._store.change_password(user, new_hash, except_session_id=except_session_id, now=self._clock()):
            raise WrongPassword

    async def _is_right(self, password: str, known: str) -> bool:
        try:
            prepared = prepare_password(password)
        except InvalidValue:
            return False
        return (await self._hasher.verify(prepared, known)).is_right
