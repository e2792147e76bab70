"""Password hashes: Argon2id (RFC 9106; OWASP's parameters), computed in a bounded pool of threads. The only owner of passlib.

A hash takes 19 MiB and some ten milliseconds of a core. Without a bound, many concurrent sign-ins take all memory and all
cores. So a few hashes are computed at a time, a limited number wait, and further requests are refused with a time to retry.
"""

import asyncio
import os
import secrets
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from passlib.context import CryptContext

from authmint.errors import TemporarilyUnavailable

MEMORY_KIB, ROUNDS, LANES = 19 * 1024, 2, 1
RETRY_AFTER = 2
NICE = 10
"""Priority of the threads, from 0 (as urgent as the rest) to 19 (a sign-in would starve beside other programs)."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PasswordCheck:
    """Whether a password was right, and the new hash if the stored one should be replaced."""

    is_right: bool
    replacement: str | None = None


def _lower_thread_priority() -> None:
    """Give this thread a lower priority: many sign-ins take all cores, and a refresh must not wait for their hashes."""
    # Only on Linux does a thread have a priority of its own.
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


@cache
def _context(memory_kib: int, rounds: int) -> CryptContext:
    # Other schemes are read, so that accounts can be brought along, and never written.
    return CryptContext(
        schemes=["argon2", "bcrypt", "pbkdf2_sha256", "pbkdf2_sha512", "sha512_crypt"],
        deprecated="auto",
        argon2__type="ID",
        argon2__memory_cost=memory_kib,
        argon2__rounds=rounds,
        argon2__parallelism=LANES,
        bcrypt__truncate_error=True,
    )


@cache
def _dummy_hash(memory_kib: int, rounds: int) -> str:
    """Return the hash of a password that no one has, made once for each cost.

    It has the live parameters, so that a sign-in with an unknown name takes as long as one with a known name.
    """
    return str(_context(memory_kib, rounds).hash(secrets.token_urlsafe(24)))


class PasswordHasher:
    """Hash and verify passwords: `workers` at a time, with at most `queue` waiting. Close it when done."""

    def __init__(self, *, workers: int, queue: int, memory_kib: int = MEMORY_KIB, rounds: int = ROUNDS) -> None:
        self._context = _context(memory_kib, rounds)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="password hashing", initializer=_lower_thread_priority)
        self.slots, self._free_slots = workers, workers + queue
        self._all_slots = self._free_slots
        self.refused = 0
        """The number of requests that were refused because the queue was full."""
        self._dummy = _dummy_hash(memory_kib, rounds)

    @property
    def running(self) -> int:
        """The number of hashes that are being computed."""
        return min(self.slots, self._all_slots - self._free_slots)

    @property
    def queued(self) -> int:
        """The number of hashes that wait for a slot."""
        return self._all_slots - self._free_slots - self.running

    def close(self) -> None:
        """Finish the hashes that are being computed, and drop the queue."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """Return the hash of a prepared password. Raise TemporarilyUnavailable if the queue is full."""
        return await self._run(lambda: str(self._context.hash(password)))

    async def verify(self, password: str, known_hash: str | None) -> PasswordCheck:
        """Compare a prepared password with a stored hash. Without a hash the result is "wrong", after the same time.

        Raise TemporarilyUnavailable if the queue is full.
        """
        return await self._run(lambda: self._verify(password, known_hash))

    def check_capacity(self) -> None:
        """Raise TemporarilyUnavailable if the queue is full, before other work is done in vain."""
        if self._free_slots <= 0:
            self.refused += 1
            raise TemporarilyUnavailable("Too many sign-ins at once. Try again in a moment.", retry_after=RETRY_AFTER)

    def _verify(self, password: str, known_hash: str | None) -> PasswordCheck:
        stored = self._dummy if known_hash is None else known_hash
        with suppress(ValueError):
            is_right, replacement = self._context.verify_and_update(password, stored)
            if is_right or not self._context.needs_update(stored):
                return PasswordCheck(is_right and known_hash is not None, replacement)
        # The stored hash is unreadable, its scheme cannot take the password, or it may be cheaper than a current hash.
        self._context.verify(password, self._dummy)
        return PasswordCheck(is_right=False)

    async def _run(self, work: Callable[[], T]) -> T:
        self.check_capacity()
        self._free_slots -= 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        # The slot is free when the hash is computed, not when its caller stops waiting for it.
        future.add_done_callback(self._free_slot)
        return await asyncio.shield(future)

    def _free_slot(self, ended: "asyncio.Future[T]") -> None:
        self._free_slots += 1
        if not ended.cancelled():
            ended.exception()
