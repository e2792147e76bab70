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

    def __repr__(self) -> str:
        return f"User(id={self.id})"
