"""Audit events. Each store records its own; what several features share is the record of failures."""

from dataclasses import dataclass

from authmint_service.events import FailureRecorder
from authmint_service.features.feature import Feature
from authmint_service.features.kernel import Kernel


@dataclass(frozen=True)
class EventParts:
    """The feature, and what records failures of authentication."""

    feature: Feature
    failures: FailureRecorder


def events(kernel: Kernel) -> EventParts:
    failures = FailureRecorder(kernel.database, kernel.settings.refresh_keys, kernel.clock)
    return EventParts(Feature(name="events"), failures)
