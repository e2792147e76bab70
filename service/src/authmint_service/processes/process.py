"""A running process, and the secret keys that it has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class SecretKind(StrEnum):
    """What secret keys are for. Each kind has ids of its own."""

    REFRESH_TOKEN = "refresh_token"  # noqa: S105 - a kind of keys, no secret
    """The MAC of refresh tokens, and what is derived of it for one-time values."""
    KEY_ENCRYPTION = "key_encryption"
    """The encryption of signing keys in the database."""


KeyIds = Mapping[SecretKind, Sequence[int]]
"""By kind: the ids of the keys in the order of the setting."""


@dataclass(frozen=True, slots=True)
class Process:
    """A live process, as its row describes it."""

    id: str
    version: str
    key_ids: KeyIds
