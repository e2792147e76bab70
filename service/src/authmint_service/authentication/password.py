"""Authentication by username and password. A refused sign-in costs the same work as an accepted one."""

from authmint_service.accounts import Account, AccountStore, prepare_username
from authmint_service.errors import InvalidValue
from authmint_service.events import Event, EventKind, FailureRecorder
from authmint_service.passwords import PasswordHasher, PasswordStore, prepare_password
from authmint_service.request_log import current_record
from authmint_service.request_source import Actor, RequestSource

DUMMY_PASSWORD = "instead of what nobody can have"  # noqa: S105 - the password of no account
"""Is prepared and hashed in place of a password that cannot exist, and takes as long as one of the usual length."""


class PasswordAuthenticator:
    """Authenticate people by password."""

    def __init__(
        self, accounts: AccountStore, passwords: PasswordStore, hasher: PasswordHasher, failures: FailureRecorder
    ) -> None:
        self._accounts, self._passwords, self._hasher, self._failures = accounts, passwords, hasher, failures

    async def authenticate(self, username: str, password: str, *, actor: Actor, source: RequestSource) -> Account | None:
        """Return the account, or None if anything is wrong. Raise TemporarilyUnavailable if the queue is full.

        `actor`: the client through which the person signs in, as long as nobody is authenticated.
        """
        try:
            name, prepared = prepare_username(username), prepare_password(password)
        except InvalidValue:
            # Neither can be stored, and no account has an empty name: the same work, with the same result.
            name, prepared = "", prepare_password(DUMMY_PASSWORD)
        # A sign-in that is refused for lack of capacity must not cost a statement.
        self._hasher.check_capacity()
        account = await self._accounts.find_by_name(name)
        known_hash = account.password_hash if account is not None and account.is_active else None
        check = await self._hasher.verify(prepared, known_hash)
        if account is not None:
            current_record().add(sub=account.id)
        if account is None or known_hash is None or not check.is_right:
            subject = None if account is None else account.id
            personal = {"name_digest": self._failures.name_digest(username)}
            await self._failures.record(
                Event(
                    kind=EventKind.SIGN_IN_FAILED, actor=actor, source=source, subject=subject, client_id=actor.client_id,
                    personal=personal,
                )
            )  # fmt: skip
            return None
        if check.replacement is not None:
            await self._passwords.replace_hash(account.id, known_hash, check.replacement)
        return account
