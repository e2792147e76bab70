"""Reading what other processes and commands have changed, and the database's time."""

import structlog

from authmint_service import change_feed
from authmint_service.features.feature import Feature
from authmint_service.features.kernel import Kernel
from authmint_service.readiness import CheckResult
from authmint_service.tasks import Task

log = structlog.get_logger(__name__)


def changes(kernel: Kernel) -> Feature:
    feed, has_stopped = kernel.changes, False

    async def read() -> None:
        nonlocal has_stopped
        await feed.read()
        if (feed.problem is not None) != has_stopped:
            has_stopped = not has_stopped
            if has_stopped:
                log.error("change_feed.stopped")
            else:
                log.info("change_feed.resumed")

    def check() -> CheckResult:
        problem = feed.problem
        return CheckResult() if problem is None else CheckResult("behind", problem, blocks_serving=True)

    return Feature(
        name="changes",
        tasks=(Task("read changes", change_feed.POLL_SECONDS, read, at_start=True),),
        readiness={"changes": check},
    )
