"""The day a key leaks: another one signs at once, and nothing that was signed before is believed any longer."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from authmint.jose import SigningKey
from authmint_service.signing_keys.schedule import RotationPolicy
from authmint_service.signing_keys.store import SigningKeyStore

RaiseEpoch = Callable[[float], Awaitable[None]]
"""Tells all who follow the list of ended sessions that no token issued before this time (seconds) is good."""


@dataclass(frozen=True, slots=True)
class EmergencyRotation:
    """The key that signs now, and those that were revoked for it."""

    kid: str
    revoked: Sequence[str]


async def rotate_emergency(
    store: SigningKeyStore, policy: RotationPolicy, now: float, raise_epoch: RaiseEpoch
) -> EmergencyRotation:
    """Whoever had one key may have had all of them, the announced one too. May be repeated when it fails half-way.

    Raises DatabaseUnavailable. `now`: seconds, by the database's clock.
    """
    key = await asyncio.to_thread(SigningKey.generate, policy.algorithm, rsa_bits=policy.rsa_bits)
    revoked = await store.replace_all(key, policy, now)
    # Afterwards: tokens that are issued between the two are signed with the new key and still refused, which costs a refresh.
    await raise_epoch(now)
    return EmergencyRotation(key.kid, revoked)
