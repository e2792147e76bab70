"""How many cores this process may use, which in a container are often fewer than the machine has."""

import os
from pathlib import Path

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
"""The quota of the control group (version 2) that is this container's own; `MAX PERIOD` in microseconds, or `max PERIOD`."""


def usable_cores(quota: Path = CPU_MAX) -> int:
    """At least one. A quota that ends within a core counts as a whole one."""
    # macOS and Windows know no affinity.
    bound_to = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        most, period = quota.read_text().split()
        return max(1, min(bound_to, -(-int(most) // int(period))))
    except (OSError, ValueError):
        # There is no control group, or it has no limit.
        return bound_to
