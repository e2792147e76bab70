"""The keys that sign: the ring of this process, what keeps it up to date, and what is published of it."""

from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from authmint_service import change_feed
from authmint_service.endpoints.metrics import KeyCollector
from authmint_service.errors import DatabaseUnavailable
from authmint_service.features.feature import Feature
from authmint_service.features.kernel import Kernel
from authmint_service.processes import SecretKind
from authmint_service.readiness import CheckResult
from authmint_service.signing_keys import (
    OWN_KEY_LABEL,
    KeyRing,
    KeyRotation,
    RotatingKeyRing,
    RotationPolicy,
    SharedSecretKeyRing,
    SigningKeyStore,
)
from authmint_service.tasks import Task

SILENT_LINES = "No key signs with {} at the moment. A new line signs eleven minutes after its start: authmint-service keys list"


@dataclass(frozen=True)
class Signing:
    """The feature, and the ring for those that sign or verify."""

    feature: Feature
    ring: KeyRing


def signing(kernel: Kernel) -> Signing:
    settings, clock = kernel.settings, kernel.database_clock
    policy = RotationPolicy(
        algorithms=settings.signing_algorithms,
        period=settings.signing_key_rotation_seconds,
        token_lifetime=settings.access_token_ttl,
        rsa_bits=settings.signing_rsa_bits,
    )
    secret = settings.hmac_secret
    ring: KeyRing
    checks: tuple[Task, ...] = ()
    if secret is not None:
        ring = SharedSecretKeyRing(
            secret,
            kernel.processes.keys(SecretKind.REFRESH_TOKEN).derive(OWN_KEY_LABEL),
            partial(kernel.processes.is_elsewhere, SecretKind.REFRESH_TOKEN),
        )
    else:
        has_other = partial(kernel.processes.is_elsewhere, SecretKind.KEY_ENCRYPTION)
        ring = rotating = RotatingKeyRing(clock, policy.algorithms, has_other)
        store = SigningKeyStore(kernel.database, kernel.processes.keys(SecretKind.KEY_ENCRYPTION))
        rotation = KeyRotation(store, rotating, policy, kernel.changes, clock)

        async def check_keys() -> None:
            # A new key is encrypted with one that all processes have. A read-only database has keys to load all the same.
            with suppress(DatabaseUnavailable):
                await kernel.processes.ensure_known()
            await rotation.check()

        checks = (Task("check signing keys", change_feed.POLL_SECONDS, check_keys, at_start=True),)

    def check_ring() -> CheckResult:
        problem = ring.problem
        if problem is not None:
            return CheckResult("missing", problem, blocks_serving=True)
        silent = ", ".join(ring.silent_lines)
        return CheckResult("incomplete", SILENT_LINES.format(silent)) if silent else CheckResult()

    feature = Feature(
        name="signing",
        tasks=checks,
        collectors=(KeyCollector(ring, policy, clock),),
        readiness={"signing_keys": check_ring},
    )
    return Signing(feature, ring)
