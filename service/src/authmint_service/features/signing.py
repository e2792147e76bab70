"""The keys that sign: the ring of this process, what keeps it up to date, and what is published of it."""

from dataclasses import dataclass

from authmint_service import change_feed
from authmint_service.endpoints.metrics import KeyCollector
from authmint_service.features.feature import Feature
from authmint_service.features.kernel import Kernel
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
        ring = SharedSecretKeyRing(secret, settings.refresh_keys.derive(OWN_KEY_LABEL))
    else:
        ring = rotating = RotatingKeyRing(clock, policy.algorithms)
        store = SigningKeyStore(kernel.database, settings.encryption_keys)
        rotation = KeyRotation(store, rotating, policy, kernel.changes, clock)
        checks = (Task("check signing keys", change_feed.POLL_SECONDS, rotation.check, at_start=True),)

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
