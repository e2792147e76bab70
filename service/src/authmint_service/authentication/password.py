"""Checks a name and a password. Whatever is wrong, it takes as long as when nothing is, and the answer is the same."""

from authmint_service.accounts.account import User
from authmint_service.accounts.store import AccountStore
from authmint_service.accounts.usernames import prepare_username
from authmint_service.errors import InvalidValue
from authmint_service.passwords.hasher import PasswordHasher
from authmint_service.passwords.preparation import prepare_password
from authmint_service.request_log import current_record

DUMMY_PASSWORD = "instead of what nobody can have"  # noqa: S105 - the password of nobody
"""Is prepared and hashed, as a password of the usual length would be."""


class PasswordAuthenticator:
    """Authenticates people by password."""

    def __init__(self, store: AccountStore, hasher: PasswordHasher) -> None:
        self._store, self._hasher = store, hasher

    async def authenticate(self, username: str, password: str) -> User | None:
        """The person, or None. Raises TemporarilyUnavailable when too many sign in at once."""
        try:
            name, prepared = prepare_username(username), prepare_password(password)
        except InvalidValue:
            # Neither could ever have been stored, and nobody has an empty name: the same work, with the same end.
            name, prepared = "", prepare_password(DUMMY_PASSWORD)
        # A crowd that is sent away shall not cost the database a question each.
        self._hasher.check_capacity()
        user = await self._store.find_by_name(name)
        verdict = await self._hasher.verify(prepared, user.password_hash if user is not None and user.enabled else None)
        if user is not None:
            current_record().add(sub=user.id)
        if user is None or not user.enabled or not verdict.is_right:
            return None
        if verdict.replacement is not None:
            await self._store.replace_hash(user, verdict.replacement)
        return user
