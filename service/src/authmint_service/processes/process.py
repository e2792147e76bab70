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


Fingerprints = Mapping[int, bytes | None]
"""The keys of one kind by their ids, in the order of the setting. None: of a version that wrote no fingerprints."""


@dataclass(frozen=True, slots=True)
class Process:
    """A live process, as its row describes it."""

    id: str
    version: str
    fingerprints: Mapping[SecretKind, Fingerprints]

    def ids_agreed_with(self, keys: Fingerprints, kind: SecretKind) -> Sequence[int]:
        """Return the ids of the keys that it has, without those that stand for another key in `keys`."""
        return [key_id for key_id, own in self.fingerprints[kind].items() if not is_different(own, keys.get(key_id))]


def is_different(one: bytes | None, other: bytes | None) -> bool:
    """Return whether two fingerprints are of different keys, as far as is known."""
    return one is not None and other is not None and one != other
