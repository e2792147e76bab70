"""Reading what other processes and commands have changed, and the database's time."""

from authmint_service import change_feed
from authmint_service.features.feature import Feature
from authmint_service.features.kernel import Kernel
from authmint_service.readiness import CheckResult
from authmint_service.tasks import Task


def changes(kernel: Kernel) -> Feature:
    feed = kernel.changes

    def check() -> CheckResult:
        problem = feed.problem
        return CheckResult() if problem is None else CheckResult("behind", problem, blocks_serving=True)

    return Feature(
        name="changes",
        tasks=(Task("read changes", change_feed.POLL_SECONDS, feed.read, at_start=True),),
        readiness={"changes": check},
    )
