"""Stands around the real hash function, in the threads that compute it: how many at a time, how many in all, at which cost."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from argon2 import extract_parameters, low_level

Cost = tuple[int, int]
"""KiB and rounds."""


class HashMeter:
    """Counts every Argon2 hash of this process, whoever computes it, from when it is made on."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._lock = threading.Lock()
        self.running = self.most = 0
        self.costs: list[Cost] = []
        """Of each that has begun."""
        patch.setattr(low_level, "hash_secret", self._around(low_level.hash_secret, _cost_of_new))
        patch.setattr(low_level, "verify_secret", self._around(low_level.verify_secret, _cost_of_known))

    def _around(self, whole: Callable[..., Any], cost_of: Callable[..., Cost]) -> Callable[..., Any]:
        def metered(*values: Any, **named: Any) -> Any:
            with self._lock:
                self.costs.append(cost_of(*values, **named))
                self.running += 1
                self.most = max(self.most, self.running)
            try:
                return whole(*values, **named)
            finally:
                with self._lock:
                    self.running -= 1

        return metered


def _cost_of_new(*, memory_cost: int, time_cost: int, **_: object) -> Cost:
    return memory_cost, time_cost


def _cost_of_known(known: bytes, *_: object) -> Cost:
    parameters = extract_parameters(known.decode())
    return parameters.memory_cost, parameters.time_cost
