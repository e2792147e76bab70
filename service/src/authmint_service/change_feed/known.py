"""What one process knows of the changes, and which cached records it may use. Decisions alone: no database, no clock."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

MAX_NAMES = 10_000


class ChangeKind(StrEnum):
    """What was changed.

    A change that takes something away makes the tokens worthless that were made before it, for some kinds: it is an entry of
    the revocation list's `below`.
    """

    ACCOUNT = "account"
    """The name is the account's id. An entry: all tokens of the account."""
    ALL = "all"
    """Everything; the name is empty, or RESTORE. An entry: all tokens. No record that is older may be used."""
    CLIENT = "client"
    """A client or its secrets; the name is the client's id. An entry: all tokens of the client."""
    ORIGINS = "origins"
    """Which web origins may use a refresh cookie; the name is the id of the client that has them. No entry."""
    SCOPE = "scope"
    """Who may have a scope; the name is the scope's. An entry: all tokens that have the scope."""
    SIGNING_KEY = "signing_key"
    """The name is the `kid`. No entry: the revocation list has the keys themselves."""


RESTORE = "restore"
"""The name of the change of everything that follows the restore of a backup, and that ends every session too."""


@dataclass(frozen=True, slots=True)
class Change:
    """A row of `changes`."""

    n: int
    """Later than each change with a smaller one: transactions commit in the order of n."""
    kind: str
    name: str
    takes: bool
    """Whether it took something away."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The database's answer to one question for changes. All of it is from one snapshot."""

    n: int
    """The greatest n in the table, 0 if it is empty: the authorization version."""
    has_expected: bool
    """Whether the row with the n that the question named is still there."""
    changes: Sequence[Change]
    """The changes after the last reading, in the order of n."""


class KnownChanges:
    """The last change of each name. Bounded: what is forgotten makes records as old as it unusable."""

    def __init__(self, *, max_names: int = MAX_NAMES) -> None:
        self._max_names = max_names
        self.n: int | None = None
        """Of the last reading; None before the first."""
        self.expected = 0
        """The greatest n that a statement of this process has seen. The database must not know less."""
        self.is_behind = False
        """Whether the database knew less at the last reading: it was restored, or it is a copy that lags."""
        self.restored = 0
        """The n of the last change named RESTORE; that of the first reading, or of one after which changes may be missing."""
        self._oldest_usable: float = 0
        self._by_name: dict[tuple[str, str], int] = {}
        self._by_kind: dict[str, int] = {}

    def observe(self, n: int) -> None:
        """Take note of the n that a statement has seen."""
        self.expected = max(self.expected, n)

    def apply(self, reading: Reading, expected: int) -> None:
        """Add what a reading says. `expected`: as it was before the question was sent, and named in it."""
        was_behind, self.is_behind = self.is_behind, reading.n < expected
        if self.is_behind:
            # No record has an n like this.
            self._oldest_usable = math.inf
            return
        if self.n is None or was_behind or not reading.has_expected:
            # Changes may be missing: rows were deleted since, or the database is another one.
            self._forget_all(reading.n)
        else:
            for change in reading.changes:
                self._add(change)
        self.n = reading.n
        self.observe(reading.n)

    def is_current(self, kind: ChangeKind, name: str, n: int) -> bool:
        """Return whether a record of this name may be used that was loaded by a statement which saw `n`."""
        return n >= self._oldest_usable and n >= self._by_name.get((kind, name), 0)

    def is_kind_current(self, kind: ChangeKind, n: int) -> bool:
        """Return whether a record of all things of a kind may be used."""
        return n >= self._oldest_usable and n >= self._by_kind.get(kind, 0)

    def _forget_all(self, n: int) -> None:
        self._oldest_usable = self.restored = n
        self._by_name.clear()
        self._by_kind.clear()

    def _add(self, change: Change) -> None:
        if change.kind == ChangeKind.ALL:
            self._oldest_usable = max(self._oldest_usable, change.n)
            if change.name == RESTORE:
                self.restored = change.n
            return
        key = change.kind, change.name
        # To the end, so that the first one is the oldest.
        self._by_name.pop(key, None)
        self._by_name[key] = change.n
        self._by_kind[change.kind] = change.n
        if len(self._by_name) > self._max_names:
            self._oldest_usable = max(self._oldest_usable, self._by_name.pop(next(iter(self._by_name))))
