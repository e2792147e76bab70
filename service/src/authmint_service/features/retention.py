"""Rows that are old enough are deleted, also those of the tables that other features bring."""

from collections.abc import Sequence

from authmint_service.features.feature import Feature
from authmint_service.features.kernel import Kernel
from authmint_service.retention import RETENTION, retention_task


def retention(kernel: Kernel, *, others: Sequence[Feature]) -> Feature:
    """`others`: the features whose tables have an age of their own."""
    ages = (*RETENTION, *(entry for feature in others for entry in feature.retention))
    return Feature(name="retention", tasks=(retention_task(kernel.database, ages),))
