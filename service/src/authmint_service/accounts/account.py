"""An account of a person."""

from dataclasses import dataclass
from enum import StrEnum


class AccountState(StrEnum):
    """The state of an account. Only an active one can sign in."""

    ACTIVE = "active"
    DISABLED = "disabled"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account. Its `id`, a UUID, is the `sub` of its tokens; the username may change and be given again."""

    id: str
    username: str
    """As `prepare_username` returns it."""
    password_hash: str | None = None
    """None: the account has no password."""
    state: AccountState = AccountState.ACTIVE
    disabled_reason: str | None = None
    credentials_version: int = 0
    """The number of changes of its credentials: a sign-in that read an older number starts no session."""

    @property
    def is_active(self) -> bool:
        return self.state is AccountState.ACTIVE

    def __repr__(self) -> str:
        return f"Account(id={self.id})"
