"""How many cores this process may use: in a container often fewer than the computer has."""

import os
from pathlib import Path

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
"""The quota of this container's own control group (version 2): `MAX PERIOD` in microseconds, or `max PERIOD`."""


def usable_cores(quota: Path = CPU_MAX) -> int:
    """Return the number, 1 at least. A quota of a part of a core counts as a whole one."""
    # macOS and Windows have no affinity.
    bound_to = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        limit, period = quota.read_text().split()
        return max(1, min(bound_to, -(-int(limit) // int(period))))
    except (OSError, ValueError):
        # There is no control group, or it has no limit.
        return bound_to
