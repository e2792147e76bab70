"""What to do when a key has leaked: new keys sign, and every key that was published before is revoked."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from authmint_service.request_source import Actor
from authmint_service.signing_keys.schedule import RotationPolicy
from authmint_service.signing_keys.store import SigningKeyStore, generate_keys

ANNOUNCE_SECONDS = 2.0
"""Between the publication of the new keys and their first signature: every process has read of them by then."""
PAUSE_SECONDS = 2.2
"""Between the publication of the new keys and the revocation of the old ones: by then the new ones sign."""


@dataclass(frozen=True, slots=True)
class EmergencyRotation:
    """The new active keys, and the keys that were revoked."""

    created: Mapping[str, str]
    """The algorithm of each new key, by `kid`."""
    revoked: Sequence[str]


async def rotate_emergency(
    store: SigningKeyStore, policy: RotationPolicy, now: float, *, actor: Actor,
    pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> EmergencyRotation:  # fmt: skip
    """Replace all keys by a new one for each line: publish those, then revoke all others. It takes PAUSE_SECONDS.

    If the new keys signed at once, a verifier that has never seen one could ask a process that does not publish it yet, and
    would refuse good tokens for a minute. An attacker who had one key may have had all of them, the announced ones too.
    It may be repeated if it fails half-way. Raise DatabaseUnavailable. `now`: seconds since the epoch, by the database's clock.
    """
    keys = (await generate_keys(policy.algorithms, policy)).values()
    published_at = await store.publish(keys, policy, now, announce_seconds=ANNOUNCE_SECONDS, actor=actor)
    await pause(PAUSE_SECONDS)
    created = {key.kid: key.algorithm for key in keys}
    revoked = await store.revoke_others(created, published_at=published_at, now=published_at + PAUSE_SECONDS, actor=actor)
    return EmergencyRotation(created, revoked)
