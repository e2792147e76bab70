"""What to do when a key has leaked: a new key signs at once, and no token that was signed before is accepted."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from authmint_service.request_source import Actor
from authmint_service.signing_keys.schedule import RotationPolicy
from authmint_service.signing_keys.store import SigningKeyStore, generate_keys

RaiseEpoch = Callable[[float], Awaitable[None]]
"""Puts on the revocation list that every token issued up to this time (seconds since the epoch) is revoked."""


@dataclass(frozen=True, slots=True)
class EmergencyRotation:
    """The new active keys, and the keys that were revoked."""

    created: Mapping[str, str]
    """The algorithm of each new key, by `kid`."""
    revoked: Sequence[str]


async def rotate_emergency(
    store: SigningKeyStore, policy: RotationPolicy, now: float, raise_epoch: RaiseEpoch, *, actor: Actor
) -> EmergencyRotation:
    """Replace all keys by a new one for each line, and revoke all tokens that were signed before.

    An attacker who had one key may have had all of them, the announced ones too. It may be repeated if it fails half-way.
    Raise DatabaseUnavailable. `now`: seconds since the epoch, by the database's clock.
    """
    keys = (await generate_keys(policy.algorithms, policy)).values()
    revoked = await store.replace_all(keys, policy, now, actor=actor)
    # The epoch comes last: a token issued in between is signed with the new key and still refused, which costs one refresh.
    await raise_epoch(now)
    return EmergencyRotation({key.kid: key.algorithm for key in keys}, revoked)
