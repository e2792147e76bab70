"""The key ring: the keys in the memory of one process, which of them sign, and which are published at this time.

A ring is replaced as a whole on the event loop's thread, so readers never wait. It keeps working while the database is
unavailable: keys change their states by the clock.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from authmint.errors import InvalidToken, IssuerUnavailable, TemporarilyUnavailable
from authmint.jose import VerifyingKey
from authmint_service.signing_keys.schedule import PUBLISHED, State
from authmint_service.signing_keys.signer import Signer, TokenSigner
from authmint_service.signing_keys.stored_key import StoredKey

if TYPE_CHECKING:
    # Commands about keys need no HTTP client.
    from authmint.key_sets import KeySet

NOT_LOADED = "The signing keys are not loaded yet. Try again."
ELSEWHERE = "Only other processes can use one of the signing keys at the moment. Try again."
NONE_USABLE = "No signing key can be used at the moment. Try again later."
UNUSABLE = "unusable"
"""Of a key that cannot be decrypted, in place of its state."""


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
        """The signer of access tokens. Raise TemporarilyUnavailable while there is none."""

    def signer_for(self, algorithm: str) -> TokenSigner:
        """Return the signer of the active key of a line. Raise TemporarilyUnavailable while there is none."""

    @property
    def own_signer(self) -> TokenSigner:
        """The signer of access tokens that are for the issuer alone. Raise TemporarilyUnavailable while there is none."""

    @property
    def own_keys(self) -> "KeySet":
        """The key set that verifies those tokens."""

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
        """Why the ring cannot sign access tokens, as a sentence for operators; None if it can."""

    @property
    def silent_lines(self) -> Sequence[str]:
        """The algorithms that are configured, and for which no key signs at the moment."""

    def states(self) -> Mapping[tuple[str, str], int]:
        """Return the number of keys by algorithm and state, `unusable` is one; empty for a shared secret."""

    @property
    def undecrypted(self) -> Sequence[StoredKey]:
        """The published keys that this process cannot use."""

    def is_elsewhere(self, kid: str | None) -> bool:
        """Return whether the key is published, and only other processes can decrypt it."""

    def find(self, kid: str | None) -> VerifyingKey | None:
        """Return the published key with this `kid`, or None."""

    async def fetch(self, kid: str) -> VerifyingKey:
        """Return the key for a `kid` that `find` does not know. Raise InvalidToken, IssuerUnavailable."""


class RotatingKeyRing:
    """The ring of the keys in the database. It is empty until `replace` is called."""

    publishes_keys = True

    def __init__(
        self,
        clock: Callable[[], float],
        algorithms: Sequence[str] = ("ES256",),
        has_other: Callable[[int], bool] = lambda _: False,
    ) -> None:
        """`clock`: seconds since the epoch, by the database's clock; `algorithms`: of each line, of access tokens first.

        `has_other`: returns whether only other processes have the key-encryption key of an id.
        """
        self._clock, self._algorithms, self._has_other = clock, algorithms, has_other
        self.keys: Sequence[StoredKey] = ()
        self._signers: dict[str, TokenSigner] = {}
        self._signer: TokenSigner | None = None
        self._jwks: PublishedDocument | None = None
        self._history = PublishedDocument.of({"keys": []})
        self._verifying: dict[str, VerifyingKey] = {}
        self._changes_at = float("inf")

    @property
    def signer(self) -> TokenSigner:
        """The signer of access tokens: of the active key of their line. No other key replaces it when it cannot be used.

        A line that has no active key yet is announced: until then the keys sign that signed before.
        """
        self._apply_schedule_if_due()
        if self._signer is None:
            raise TemporarilyUnavailable(NONE_USABLE if self.keys else NOT_LOADED)
        return self._signer

    def signer_for(self, algorithm: str) -> TokenSigner:
        self._apply_schedule_if_due()
        signer = self._signers.get(algorithm)
        if signer is None:
            raise TemporarilyUnavailable(NONE_USABLE if self.keys else NOT_LOADED)
        return signer

    @property
    def own_signer(self) -> TokenSigner:
        return self.signer

    @property
    def own_keys(self) -> "KeySet":
        return self

    @property
    def jwks(self) -> PublishedDocument:
        self._apply_schedule_if_due()
        if any(self._has_other(key.encryption_key_id) for key in self.undecrypted):
            # A set without this key would make its tokens worthless at everyone who fetches it.
            raise TemporarilyUnavailable(ELSEWHERE)
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

    @property
    def silent_lines(self) -> Sequence[str]:
        self._apply_schedule_if_due()
        return [algorithm for algorithm in self._algorithms if algorithm not in self._signers]

    def states(self) -> Mapping[tuple[str, str], int]:
        now = self._clock()
        lines = dict.fromkeys((*self._algorithms, *(key.algorithm for key in self.keys)))
        none = {(algorithm, state): 0 for algorithm in lines for state in (*State, UNUSABLE)}
        return none | Counter((key.algorithm, UNUSABLE if key.problem else key.schedule.state(now)) for key in self.keys)

    def find(self, kid: str | None) -> VerifyingKey | None:
        self._apply_schedule_if_due()
        return None if kid is None else self._verifying.get(kid)

    async def fetch(self, kid: str) -> VerifyingKey:
        if self.is_elsewhere(kid):
            raise IssuerUnavailable("another process has the key-encryption key")
        if not self._verifying:
            raise IssuerUnavailable("no keys yet")
        raise InvalidToken("unknown_key")

    @property
    def undecrypted(self) -> Sequence[StoredKey]:
        unusable = [key for key in self.keys if key.problem is not None]
        return [key for key in unusable if key.schedule.state(self._clock()) in PUBLISHED]

    def is_elsewhere(self, kid: str | None) -> bool:
        return any(key.kid == kid and self._has_other(key.encryption_key_id) for key in self.undecrypted)

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
        active: dict[str, StoredKey] = {}
        for key in self.keys:
            if key.schedule.state(now) is State.ACTIVE:
                active.setdefault(key.algorithm, key)
        self._signers = {
            algorithm: self._token_signer(key.signer) for algorithm, key in active.items() if key.signer is not None
        }
        chosen = self._line_of_access_tokens(active.values())
        self._signer = None if chosen is None else self._signers.get(chosen)
        self._changes_at = min((key.schedule.changes_after(now) for key in self.keys), default=float("inf"))

    def _token_signer(self, signer: Signer) -> TokenSigner:
        known = self._signers.get(signer.algorithm)
        return known if known is not None and known.kid == signer.kid else TokenSigner(signer)

    def _line_of_access_tokens(self, active: Iterable[StoredKey]) -> str | None:
        """Return the algorithm that signs access tokens: the configured one, before its first key is active that of another.

        Best one that is no longer configured, as it signed them until now.
        """
        lines = [key.algorithm for key in active]
        if self._algorithms[0] in lines:
            return self._algorithms[0]
        return min(lines, key=lambda algorithm: algorithm in self._algorithms, default=None)


def public_jwks(keys: Sequence[StoredKey], now: float) -> list[dict[str, str]]:
    """Return the public JWKs of the keys that are published at `now`, seconds since the epoch."""
    return [jwk for key in keys if key.schedule.state(now) in PUBLISHED and (jwk := key.public_jwk())]


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
