"""What one process has read of revocations: all of it, and what was written lately. Decisions alone: no database, no clock."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from authmint.revocation_list import RevocationList
from authmint.revoked_entries import Packs, RevokedEntries
from authmint_service.revocations.store import SLICE_SECONDS, RevocationReading

OVERLAP_SECONDS = 60
"""What was written this long before a reading is read again, and sent again: it may have been committed later."""
RECENT_SECONDS = 180
"""A follower whose list is older gets a whole one."""


@dataclass(frozen=True, slots=True)
class RevocationHistory:
    """The entries that are needed, and those that were written lately, by slices of SLICE_SECONDS."""

    whole: RevokedEntries = field(default_factory=RevokedEntries)
    recent: Mapping[int, RevokedEntries] = field(default_factory=dict)

    def merged(self, reading: RevocationReading, time: float) -> "RevocationHistory":
        """Return the history with what was read; itself if that is nothing new.

        `time`: of the reading, seconds since the epoch. It differs from the reading's own in tests alone.
        """
        shift = round((time - reading.time) / SLICE_SECONDS)
        changes = [(slice_ + shift, entries) for slice_, entries in reading.changes.items()]
        recent, added = dict(self.recent), RevokedEntries()
        # The small ones first: to merge takes as long as the larger one is large.
        for slice_, entries in sorted((*reading.ended.items(), *changes), key=lambda found: len(found[1])):
            needed, known = entries.without_ended(time), recent.get(slice_)
            written = needed if known is None else known.merged(needed)
            # Nearly always the same as half a second before.
            if written is known:
                continue
            recent[slice_] = written
            added = added.merged(needed)
        whole = self.whole.merged(added)
        if len(reading.covered) > 0:
            whole = _without(whole, reading.covered)
            recent = {slice_: _without(entries, reading.covered) for slice_, entries in recent.items()}
        if whole is self.whole:
            return self
        return RevocationHistory(whole, recent).without_ended(time)

    def without_ended(self, time: float) -> "RevocationHistory":
        """Return the history without what is needed no more at `time`, seconds since the epoch."""
        oldest = (time - RECENT_SECONDS) // SLICE_SECONDS
        recent = {slice_: entries for slice_, entries in self.recent.items() if slice_ >= oldest}
        return RevocationHistory(self.whole.without_ended(time), recent)

    def first_slice(self, since: int | None, time: float) -> int | None:
        """Return the slice with which a delta begins; None if the list has to be whole.

        `since`: the follower's serial, milliseconds; None for the first list.
        """
        if since is None or since / 1000 < time - RECENT_SECONDS + OVERLAP_SECONDS + SLICE_SECONDS:
            return None
        return int((since / 1000 - OVERLAP_SECONDS) // SLICE_SECONDS)

    def make_list(self, first_slice: int | None, serial: int) -> RevocationList:
        """Return a list, or the delta that begins with a slice. `serial`: milliseconds."""
        if first_slice is None:
            return RevocationList(serial // 1000, serial, None, self.whole)
        entries = RevokedEntries()
        for slice_, written in self.recent.items():
            if slice_ >= first_slice:
                entries = entries.merged(written)
        since = (first_slice * SLICE_SECONDS + OVERLAP_SECONDS) * 1000
        return RevocationList(serial // 1000, serial, since, entries)


def _without(entries: RevokedEntries, covered: RevokedEntries) -> RevokedEntries:
    """Return the entries without sessions and tokens that a change covers; the same if they have none of them."""
    sessions, tokens = _left(entries.sessions, covered.sessions), _left(entries.tokens, covered.tokens)
    if sessions == entries.sessions and tokens == entries.tokens:
        return entries
    return replace(entries, sessions=sessions, tokens=tokens)


def _left(packs: Packs, covered: Packs) -> Packs:
    left = dict(packs.by_minute)
    for minute, pack in covered.by_minute.items():
        if minute in left:
            gone = frozenset(pack)
            left[minute] = array("Q", (entry for entry in left[minute] if entry not in gone))
    return Packs({minute: pack for minute, pack in left.items() if pack})
