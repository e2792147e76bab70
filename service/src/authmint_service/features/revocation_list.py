"""The signed list of what was revoked, which resource services follow."""

from dataclasses import dataclass

from authmint_service.change_feed import seconds_since_boot
from authmint_service.endpoints.oauth.revocation_list import RevocationListEndpoint
from authmint_service.features.feature import Feature
from authmint_service.features.kernel import Kernel
from authmint_service.metrics import Gauge
from authmint_service.readiness import CheckResult
from authmint_service.revocations import RevocationStore, covering_task
from authmint_service.signing_keys import KeyRing
from authmint_service.tasks import Task
from authmint_service.tokens import RevocationListPublisher
from authmint_service.tokens.revocation_list import READ_SECONDS


@dataclass(frozen=True)
class RevocationListParts:
    """The feature, the list for those that ask whether a token is revoked, and the rows."""

    feature: Feature
    publisher: RevocationListPublisher
    store: RevocationStore


def revocation_list(kernel: Kernel, ring: KeyRing) -> RevocationListParts:
    store = RevocationStore(kernel.database)
    publisher = RevocationListPublisher(
        store,
        ring,
        issuer=kernel.issuer,
        # The clock that all processes share: one whose own is ahead would leave out what was revoked last.
        clock=kernel.database_clock,
        changes=kernel.changes,
        elapsed=seconds_since_boot,
        draining=kernel.draining,
    )
    endpoint = RevocationListEndpoint(publisher)

    def check() -> CheckResult:
        return CheckResult() if publisher.problem is None else CheckResult("large", publisher.problem)

    name = "authmint_revocation_list"
    feature = Feature(
        name="revocation_list",
        routers=(endpoint.routes(),),
        readiness={"revocation_list": check},
        gauges=(
            Gauge(f"{name}_entries", "Entries of the revocation list", lambda: publisher.size),
            Gauge(f"{name}_bytes", "Bytes of the whole revocation list, about", lambda: publisher.estimated_bytes),
            Gauge(f"{name}_waiting", "Followers that wait for what is new", lambda: endpoint.waiting),
            Gauge(f"{name}_turned_away", "Followers that could not wait", lambda: endpoint.turned_away, is_count=True),
        ),
        tasks=(
            Task("read revocations", READ_SECONDS, publisher.read, at_start=True),
            covering_task(kernel.database, kernel.database_clock),
        ),
    )
    return RevocationListParts(feature, publisher, store)
