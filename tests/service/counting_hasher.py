"""Stands around the real hash function, in the threads that compute it: how many at a time, how many in all, at which cost."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from argon2 import extract_parameters, low_level
from argon2.exceptions import InvalidHashError

Cost = tuple[int, int]
"""KiB and rounds."""
NO_COST = (0, 0)
"""Of a stored hash that is none, at which the function gives up before it begins."""


class HashMeter:
    """Counts every Argon2 hash that this process computes from now on."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._lock = threading.Lock()
        self.running = self.most = 0
        self.costs: list[Cost] = []
        """Of each that has begun."""
        self.longest = 0
        """Bytes of the longest password that was hashed."""
        patch.setattr(low_level, "hash_secret", self._around(low_level.hash_secret, _read_new))
        patch.setattr(low_level, "verify_secret", self._around(low_level.verify_secret, _read_known))

    def _around(self, whole: Callable[..., Any], read: Callable[..., tuple[bytes, Cost]]) -> Callable[..., Any]:
        def metered(*values: Any, **named: Any) -> Any:
            password, cost = read(*values, **named)
            with self._lock:
                self.costs.append(cost)
                self.longest = max(self.longest, len(password))
                self.running += 1
                self.most = max(self.most, self.running)
            try:
                return whole(*values, **named)
            finally:
                with self._lock:
                    self.running -= 1

        return metered


def _read_new(*, secret: bytes, memory_cost: int, time_cost: int, **_: object) -> tuple[bytes, Cost]:
    return secret, (memory_cost, time_cost)


def _read_known(known: bytes, secret: bytes, *_: object) -> tuple[bytes, Cost]:
    try:
        parameters = extract_parameters(known.decode())
    except InvalidHashError:
        return secret, NO_COST
    return secret, (parameters.memory_cost, parameters.time_cost)
