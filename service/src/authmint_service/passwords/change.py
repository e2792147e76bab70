"""The change of a password by its owner. The current one is the proof, and the other sessions are revoked (ASVS 7.4.3)."""

from collections.abc import Callable

from authmint_service.errors import InvalidValue
from authmint_service.events import Event, EventKind, FailureRecorder
from authmint_service.passwords.hasher import PasswordHasher
from authmint_service.passwords.policy import PasswordPolicy
from authmint_service.passwords.preparation import prepare_password
from authmint_service.passwords.store import KeptSession, PasswordStore
from authmint_service.request_source import Actor, RequestSource


class WrongPassword(Exception):
    """The current password is another one."""


class PasswordChange:
    """Change passwords."""

    def __init__(
        self,
        store: PasswordStore,
        hasher: PasswordHasher,
        policy: PasswordPolicy,
        clock: Callable[[], float],
        failures: FailureRecorder,
    ) -> None:
        """`clock`: seconds since the epoch."""
        self._store, self._hasher, self._policy, self._clock, self._failures = store, hasher, policy, clock, failures

    async def change(
        self, account_id: str, *, current: str, new: str, kept: KeptSession | None, actor: Actor, source: RequestSource
    ) -> None:
        """Change the password of an account. No session of the account but `kept` is live once this returns.

        Raise SessionChanged, with nothing changed, if `kept` was refreshed or revoked meanwhile.
        Raise WrongPassword, InvalidValue if the policy refuses the new one, and TemporarilyUnavailable if the queue is full.
        """
        stored = await self._store.find(account_id)
        if stored is None or not await self._is_right(current, stored.hash):
            # With a stolen access token the password can be guessed here.
            await self._failures.record(
                Event(
                    kind=EventKind.PASSWORD_CHANGE_REFUSED, actor=actor, source=source, subject=account_id,
                    client_id=actor.client_id,
                )
            )  # fmt: skip
            raise WrongPassword
        new_hash = await self._hasher.hash(await self._check_new(new, stored.username))
        changed = await self._store.change(
            account_id,
            new_hash,
            credentials_version=stored.credentials_version,
            kept=kept,
            now=self._clock(),
            actor=actor,
            source=source,
        )
        if not changed:
            raise WrongPassword

    async def _check_new(self, new: str, username: str) -> str:
        try:
            return await self._policy.check(new, username=username)
        except InvalidValue as error:
            raise error.about("new_password") from error

    async def _is_right(self, password: str, known_hash: str) -> bool:
        try:
            prepared = prepare_password(password)
        except InvalidValue:
            return False
        return (await self._hasher.verify(prepared, known_hash)).is_right
