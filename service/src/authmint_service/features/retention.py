"""Rows that are old enough are deleted."""

from authmint_service.features.feature import Feature
from authmint_service.features.kernel import Kernel
from authmint_service.retention import retention_task


def retention(kernel: Kernel) -> Feature:
    return Feature(name="retention", tasks=(retention_task(kernel.database),))
