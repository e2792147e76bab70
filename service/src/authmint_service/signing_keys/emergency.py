"""What to do when a key has leaked: a new key signs at once, and no token that was signed before is accepted."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from authmint.jose import SigningKey
from authmint_service.request_source import Actor
from authmint_service.signing_keys.schedule import RotationPolicy
from authmint_service.signing_keys.store import SigningKeyStore

RaiseEpoch = Callable[[float], Awaitable[None]]
"""Puts on the revocation list that every token issued up to this time (seconds since the epoch) is revoked."""


@dataclass(frozen=True, slots=True)
class EmergencyRotation:
    """The new active key, and the keys that were revoked."""

    kid: str
    revoked: Sequence[str]


async def rotate_emergency(
    store: SigningKeyStore, policy: RotationPolicy, now: float, raise_epoch: RaiseEpoch, *, actor: Actor
) -> EmergencyRotation:
    """Replace all keys by a new one, and revoke all tokens that were signed before. May be repeated if it fails half-way.

    An attacker who had one key may have had all of them, the announced one too. Raise DatabaseUnavailable. `now`: seconds since
    the epoch, by the database's clock.
    """
    key = await asyncio.to_thread(SigningKey.generate, policy.algorithm, rsa_bits=policy.rsa_bits)
    revoked = await store.replace_all(key, policy, now, actor=actor)
    # The epoch comes last: a token issued in between is signed with the new key and still refused, which costs one refresh.
    await raise_epoch(now)
    return EmergencyRotation(key.kid, revoked)
