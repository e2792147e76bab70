"""The history of an issuer's keys: which one was retired or revoked, and when. It is for people, and decides nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from authmint.fetching import FetchError, fetch_document
from authmint.metadata import discover


@dataclass(frozen=True, slots=True)
class KeyHistory:
    """The keys of one issuer by `kid`, each with the times (seconds since the epoch) that the issuer publishes."""

    keys: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, members: Mapping[str, Any]) -> "KeyHistory":
        """Return the history in a document. Malformed entries are left out."""
        entries = members.get("keys")
        listed = entries if isinstance(entries, list) else []
        return cls({one["kid"]: one for one in listed if isinstance(one, dict) and isinstance(one.get("kid"), str)})

    def describe_end(self, kid: str, now: float) -> str | None:
        """Return how and when a key ended, in words; None for a key in use or an unknown one."""
        times = {name: value for name, value in self.keys.get(kid, {}).items() if _has_come(value, now)}
        if "revoked_at" in times:
            return f"was revoked on {_day(times['revoked_at'])}"
        if "retired_at" not in times:
            return None
        # It stayed published for some time, so that the tokens that it had signed stayed good.
        withdrawn = f" and withdrawn on {_day(times['withdrawn_at'])}" if "withdrawn_at" in times else ""
        return f"was retired on {_day(times['retired_at'])}{withdrawn}"


async def fetch_key_history(issuer: str) -> KeyHistory:
    """Fetch the history. Raise FetchError, also for an issuer that publishes none."""
    uri = (await discover(issuer)).key_history_uri
    if uri is None:
        raise FetchError("the metadata has no key_history_uri that may be used")
    return KeyHistory.read((await fetch_document(uri)).members)


def _day(seconds: float) -> str:
    """Return a time for people, to the minute."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _has_come(value: object, now: float) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= min(now, 253_402_300_799)
