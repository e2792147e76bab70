"""The change feed: how a process learns what other processes and commands have changed.

A statement that changes clients, client secrets or signing keys runs inside `change_transaction`, with rows of `changes`. Each
process reads these rows every half second (`ChangeFeed`). A cached record bears the n that the statement which loaded it
saw, and is used only while no change of it has a greater n (`KnownChanges`). So there is no time-to-live, and a load that was
under way while a change arrived does no harm.

A change that takes something away makes older access tokens worthless: each has the claim `epoch`, from an `EpochReading`, and
the revocation list publishes the rows of `changes` that take (`ChangeKind` says which).
"""

from authmint_service.change_feed.epoch import EpochReading
from authmint_service.change_feed.feed import (
    MAX_AGE_SECONDS,
    MAX_EPOCH_AGE_SECONDS,
    MAX_OUTAGE_SECONDS,
    POLL_SECONDS,
    ChangeFeed,
    seconds_since_boot,
)
from authmint_service.change_feed.known import RESTORE, Change, ChangeKind, KnownChanges, Reading
from authmint_service.change_feed.transaction import (
    MAX_TRANSACTION_SECONDS,
    ChangeTransaction,
    ChangeUndone,
    change_transaction,
    repeat_if_undone,
)

__all__ = [
    "MAX_AGE_SECONDS",
    "MAX_EPOCH_AGE_SECONDS",
    "MAX_OUTAGE_SECONDS",
    "MAX_TRANSACTION_SECONDS",
    "POLL_SECONDS",
    "RESTORE",
    "Change",
    "ChangeFeed",
    "ChangeKind",
    "ChangeTransaction",
    "ChangeUndone",
    "EpochReading",
    "KnownChanges",
    "Reading",
    "change_transaction",
    "repeat_if_undone",
    "seconds_since_boot",
]
