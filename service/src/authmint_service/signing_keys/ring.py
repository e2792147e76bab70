"""The key ring: the keys in the memory of one process, which of them signs, and which are published at this time.

A ring is replaced as a whole on the event loop's thread, so readers never wait. It keeps working while the database is
unavailable: keys change their states by the clock.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from authmint.errors import InvalidToken, IssuerUnavailable, TemporarilyUnavailable
from authmint.jose import VerifyingKey
from authmint_service.signing_keys.schedule import PUBLISHED, State
from authmint_service.signing_keys.signer import SharedSecretSigner, TokenSigner
from authmint_service.signing_keys.store import StoredKey

NOT_LOADED = "The signing keys are not loaded yet. Try again."
NONE_USABLE = "No signing key can be used at the moment. Try again later."


@dataclass(frozen=True, slots=True)
class PublishedDocument:
    """A public JSON document as bytes, and the entity tag that changes with it (RFC 9110, section 8.8.3)."""

    content: bytes
    tag: str

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> "PublishedDocument":
        content = json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode()
        return cls(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


class KeyRing(Protocol):
    """Signs the service's tokens, verifies them (it is a key set), and publishes the public keys."""

    @property
    def signer(self) -> TokenSigner:
        """The signer of the active key. Raise TemporarilyUnavailable while there is none."""

    @property
    def keys(self) -> Sequence[StoredKey]:
        """The stored keys, the newest first; none for a shared secret."""

    @property
    def publishes_keys(self) -> bool:
        """Whether there is a JWK set and a key history to publish."""

    @property
    def jwks(self) -> PublishedDocument:
        """The public keys as a JWK set (RFC 7517, section 5). Raise TemporarilyUnavailable while there are none."""

    @property
    def history(self) -> PublishedDocument:
        """The `kid`, algorithm and times of every key, without the keys themselves."""

    @property
    def problem(self) -> str | None:
        """Why the ring cannot sign, as a sentence for operators; None if it can."""

    def states(self) -> Mapping[str, int]:
        """Return the number of keys in each state, and of those that are unusable; empty for a shared secret."""

    def find(self, kid: str | None) -> VerifyingKey | None:
        """Return the published key with this `kid`, or None."""

    async def fetch(self, kid: str) -> VerifyingKey:
        """Return the key for a `kid` that `find` does not know. Raise InvalidToken, IssuerUnavailable."""


class RotatingKeyRing:
    """The ring of the keys in the database. It is empty until `replace` is called."""

    publishes_keys = True

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock`: seconds since the epoch, by the database's clock."""
        self._clock = clock
        self.keys: Sequence[StoredKey] = ()
        self._signer: TokenSigner | None = None
        self._jwks: PublishedDocument | None = None
        self._history = PublishedDocument.of({"keys": []})
        self._verifying: dict[str, VerifyingKey] = {}
        self._changes_at = float("inf")

    @property
    def signer(self) -> TokenSigner:
        """The signer of the active key. No other key ever replaces it."""
        self._apply_schedule_if_due()
        if self._signer is None:
            raise TemporarilyUnavailable(NONE_USABLE if self.keys else NOT_LOADED)
        return self._signer

    @property
    def jwks(self) -> PublishedDocument:
        self._apply_schedule_if_due()
        if self._jwks is None:
            raise TemporarilyUnavailable(NONE_USABLE if self.keys else NOT_LOADED)
        return self._jwks

    @property
    def history(self) -> PublishedDocument:
        return self._history

    @property
    def problem(self) -> str | None:
        self._apply_schedule_if_due()
        if self._signer is not None:
            return None
        return "No signing key can be used: the log says why." if self.keys else "The signing keys are not loaded yet."

    def states(self) -> Mapping[str, int]:
        now = self._clock()
        found = Counter(key.schedule.state(now).value for key in self.keys if key.problem is None)
        return {**dict.fromkeys(State, 0), **found, "unusable": sum(key.problem is not None for key in self.keys)}

    def find(self, kid: str | None) -> VerifyingKey | None:
        self._apply_schedule_if_due()
        return None if kid is None else self._verifying.get(kid)

    async def fetch(self, kid: str) -> VerifyingKey:
        if not self._verifying:
            raise IssuerUnavailable("no keys yet")
        raise InvalidToken("unknown_key")

    def replace(self, keys: Sequence[StoredKey]) -> None:
        """Replace all keys of the ring by `keys`, the newest first."""
        self.keys = keys
        self._history = PublishedDocument.of({"keys": [_history_entry(key) for key in keys]})
        self._apply_schedule()

    def _apply_schedule_if_due(self) -> None:
        if self._clock() >= self._changes_at:
            self._apply_schedule()

    def _apply_schedule(self) -> None:
        now = self._clock()
        published = [key for key in self.keys if key.signer is not None and key.schedule.state(now) in PUBLISHED]
        jwks = public_jwks(published, now)
        self._jwks = PublishedDocument.of({"keys": jwks}) if jwks else None
        # A key that stays is the same object: tokens that were verified with it need not be verified again.
        self._verifying = {jwk["kid"]: self._verifying.get(jwk["kid"]) or VerifyingKey.from_jwk(jwk) for jwk in jwks}
        active = next((key.signer for key in published if key.schedule.state(now) is State.ACTIVE), None)
        if active is None or self._signer is None or self._signer.kid != active.kid:
            self._signer = None if active is None else TokenSigner(active)
        self._changes_at = min((key.schedule.changes_after(now) for key in self.keys), default=float("inf"))


class SharedSecretKeyRing:
    """The ring of one shared secret (HS256). It never changes and publishes nothing."""

    publishes_keys = False
    problem = None

    def __init__(self, secret: bytes) -> None:
        """Raise ValueError for less than 32 bytes."""
        signer = SharedSecretSigner(secret)
        self.signer, self._key = TokenSigner(signer), signer.verifying_key
        self.keys: Sequence[StoredKey] = ()
        self.jwks = self.history = PublishedDocument.of({"keys": []})

    def states(self) -> Mapping[str, int]:
        return {}

    def find(self, _: str | None) -> VerifyingKey | None:
        return self._key

    async def fetch(self, _: str) -> VerifyingKey:
        return self._key


def public_jwks(keys: Sequence[StoredKey], now: float) -> list[dict[str, str]]:
    """Return the public JWKs of the keys that are published at `now`, seconds since the epoch."""
    published = [key.signer for key in keys if key.signer is not None and key.schedule.state(now) in PUBLISHED]
    return [jwk for signer in published if (jwk := signer.public_jwk())]


def _history_entry(key: StoredKey) -> dict[str, Any]:
    schedule = key.schedule
    times = {
        "published_at": schedule.published_at,
        "active_from": schedule.active_from,
        "retired_at": schedule.retired_at,
        "withdrawn_at": schedule.withdrawn_at,
        "revoked_at": schedule.revoked_at,
    }
    # As in OpenID Federation's historical keys: whole seconds, and a time without a value is left out.
    return {"kid": key.kid, "alg": key.algorithm, **{name: int(time) for name, time in times.items() if time is not None}}
