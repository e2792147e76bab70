"""A person."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Someone who can sign in. The `id`, a UUID, is the `sub` of their tokens; the name may change and be given again."""

    id: str
    username: str
    """As `prepare_username` makes it."""
    password_hash: str
    enabled: bool = True
    credentials_version: int = 0
    """Counts the changes of the password: a sign-in with the one before starts no session."""

    def __repr__(self) -> str:
        return f"User(id={self.id})"
