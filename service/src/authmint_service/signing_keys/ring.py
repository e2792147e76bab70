"""The keys in the memory of one process: who signs, and what is published, at this moment.

Replaced as a whole on the event loop's thread; readers never wait. The ring keeps serving while the database is away, and
goes on from state to state by the clock.
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
    """A document for everybody, as it goes over the network, and the tag that changes with it (RFC 9110, section 8.8.3)."""

    content: bytes
    tag: str

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> "PublishedDocument":
        content = json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode()
        return cls(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


class KeyRing(Protocol):
    """What signs the service's tokens (TemporarilyUnavailable while there is nothing), and verifies them: a key set."""

    @property
    def signer(self) -> TokenSigner: ...
    def find(self, kid: str | None) -> VerifyingKey | None: ...
    async def fetch(self, kid: str) -> VerifyingKey: ...


class RotatingKeyRing:
    """Empty until `replace`. It is itself the key set of our own resource server, `/account/v1`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock`: seconds since the epoch, as the database has them."""
        self._clock = clock
        self.keys: Sequence[StoredKey] = ()
        self._signer: TokenSigner | None = None
        self._jwks: PublishedDocument | None = None
        self._history = PublishedDocument.of({"keys": []})
        self._verifying: dict[str, VerifyingKey] = {}
        self._changes_at = float("inf")

    @property
    def signer(self) -> TokenSigner:
        """The active key's. No other key ever stands in for it."""
        self._settle_if_due()
        if self._signer is None:
            raise TemporarilyUnavailable(NONE_USABLE if self.keys else NOT_LOADED)
        return self._signer

    @property
    def jwks(self) -> PublishedDocument:
        """The public keys as a JWK set (RFC 7517, section 5)."""
        self._settle_if_due()
        if self._jwks is None:
            raise TemporarilyUnavailable(NONE_USABLE if self.keys else NOT_LOADED)
        return self._jwks

    @property
    def history(self) -> PublishedDocument:
        """What became of which key: times and names, and nothing of the keys themselves."""
        return self._history

    @property
    def problem(self) -> str | None:
        """A sentence for people; None when the ring can sign."""
        self._settle_if_due()
        if self._signer is not None:
            return None
        return "No signing key can be used: the log says why." if self.keys else "The signing keys are not loaded yet."

    def states(self) -> Mapping[str, int]:
        """How many keys there are in each state, those that cannot be used apart."""
        now = self._clock()
        found = Counter(key.schedule.state(now).value for key in self.keys if key.problem is None)
        return {**dict.fromkeys(State, 0), **found, "unusable": sum(key.problem is not None for key in self.keys)}

    def find(self, kid: str | None) -> VerifyingKey | None:
        self._settle_if_due()
        return None if kid is None else self._verifying.get(kid)

    async def fetch(self, kid: str) -> VerifyingKey:
        if not self._verifying:
            raise IssuerUnavailable("no keys yet")
        raise InvalidToken("unknown_key")

    def replace(self, keys: Sequence[StoredKey]) -> None:
        """Other keys instead of these."""
        self.keys = keys
        self._history = PublishedDocument.of({"keys": [_told(key) for key in keys]})
        self._apply_schedule()

    def _settle_if_due(self) -> None:
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
    """HS256: one secret for everything, and nothing to publish."""

    def __init__(self, secret: bytes) -> None:
        """Raises ValueError for less than 32 bytes."""
        signer = SharedSecretSigner(secret)
        self.signer, self._key = TokenSigner(signer), signer.verifying_key

    def find(self, _: str | None) -> VerifyingKey | None:
        return self._key

    async def fetch(self, _: str) -> VerifyingKey:
        return self._key


def public_jwks(keys: Sequence[StoredKey], now: float) -> list[dict[str, str]]:
    """The public halves of those that are published."""
    published = [key.signer for key in keys if key.signer is not None and key.schedule.state(now) in PUBLISHED]
    return [jwk for signer in published if (jwk := signer.public_jwk())]


def _told(key: StoredKey) -> dict[str, Any]:
    schedule = key.schedule
    times = {
        "published_at": schedule.published_at,
        "active_from": schedule.active_from,
        "retired_at": schedule.retired_at,
        "withdrawn_at": schedule.withdrawn_at,
        "revoked_at": schedule.revoked_at,
    }
    # As in OpenID Federation's historical keys: whole seconds, and what has no date is left out.
    return {"kid": key.kid, "alg": key.algorithm, **{name: int(time) for name, time in times.items() if time is not None}}
