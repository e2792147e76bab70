"""A model of one process that issues tokens while others change a client: every order of steps, on the pure decisions.

A token must never claim more than its maker knew: whatever it was made from is at least as new as its epoch. Then the entry
of a change refuses each token that was made from an older client. Each rule is left out once, to see what it prevents.
"""

import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest

from authmint_service.change_feed import (
    MAX_EPOCH_AGE_SECONDS,
    MAX_OUTAGE_SECONDS,
    MAX_TRANSACTION_SECONDS,
    Change,
    ChangeKind,
    EpochReading,
    KnownChanges,
    Reading,
)
from authmint_service.retention import CHANGE_SECONDS

CLIENT = ChangeKind.CLIENT
MAX_TOKEN_SECONDS, MAX_LEEWAY_SECONDS, MAX_CLOCK_SECONDS = 3600, 300, 300
LISTED_AFTER_SECONDS = 1.25


@dataclass(frozen=True)
class Rules:
    """What the service does. A test leaves one out."""

    is_checked_again: bool = True
    """The client is checked once more after the reading."""
    follows: bool = True
    """The feed knows of all that the statement of a person's token saw."""
    has_n_of_load: bool = True
    """A cached client bears the n that the statement which loaded it saw, and not what is known when it arrives."""


class Process:
    """A database with one client, whose versions are counted, and a process that issues tokens to it."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.versions = [0]
        """The n of each version of the client."""
        self.known = KnownChanges()
        self.known.apply(Reading(n=0, has_expected=True, changes=()), 0)
        self.cached = 0, 0
        self.load: tuple[int, int] | None = None
        self.question: tuple[Reading, int] | None = None
        self.found: tuple[int, int] | None = None
        self.reading: int | None = None
        self.tokens: list[tuple[int, int]] = []
        """The version of the client and the epoch of each token."""

    @property
    def version(self) -> int:
        return len(self.versions) - 1

    def change(self) -> None:
        self.versions.append(self.versions[-1] + 1)

    def begin_load(self) -> None:
        self.load = self.version, self.versions[-1]

    def end_load(self) -> None:
        if self.load is not None:
            version, n = self.load
            n = n if self.rules.has_n_of_load else self.known.n or 0
            self.known.observe(n)
            self.cached, self.load = (version, n), None

    def begin_question(self) -> None:
        changes = [Change(n, CLIENT, "c", takes=True) for n in self.versions if n > (self.known.n or 0)]
        self.question = Reading(n=self.versions[-1], has_expected=True, changes=changes), self.known.expected

    def end_question(self) -> None:
        if self.question is not None:
            self.known.apply(*self.question)
            self.question = None

    def find_client(self) -> None:
        """Authenticate the client of a request."""
        self.found = self.cached if self.known.is_current(CLIENT, "c", self.cached[1]) else None
        self.reading = None

    def read_feed(self) -> None:
        """Take the reading of a service's token."""
        self.reading = self.known.n

    def run_statement(self) -> None:
        """Take the reading of a person's token from its statement."""
        self.reading = self.versions[-1]

    def issue(self) -> None:
        if self.found is None or self.reading is None:
            return
        if self.rules.follows and (self.known.n or 0) < self.reading:
            return
        if self.rules.is_checked_again and not self.known.is_current(CLIENT, "c", self.found[1]):
            return
        self.tokens.append((self.found[0], self.reading))

    def broken(self) -> bool:
        """Whether a token lives although it was made from a client as it was before a change."""
        return any(epoch >= n for version, epoch in self.tokens for n in self.versions[version + 1 :])


STEPS = (
    Process.change, Process.begin_load, Process.end_load, Process.begin_question, Process.end_question,
    Process.find_client, Process.read_feed, Process.run_statement, Process.issue,
)  # fmt: skip


def run(rules: Rules, steps: Iterable[Callable[[Process], None]]) -> Process:
    process = Process(rules)
    for step in steps:
        step(process)
    process.issue()
    return process


def test_in_every_order_of_six_steps_each_token_is_dead_that_was_made_from_an_older_client() -> None:
    for steps in itertools.product(STEPS[:-1], repeat=5):
        assert not run(Rules(), steps).broken(), steps


P = Process
ORDERS = {
    "is_checked_again": (P.find_client, P.change, P.begin_question, P.end_question, P.read_feed),
    "follows": (P.find_client, P.change, P.run_statement),
    "has_n_of_load": (
        P.begin_load, P.change, P.begin_question, P.end_question, P.end_load, P.find_client, P.read_feed,
    ),
}  # fmt: skip
"""By rule: an order that leaves a token alive when the rule is left out."""


@pytest.mark.parametrize("rule", ORDERS)
def test_without_a_rule_a_token_lives_that_must_be_dead(rule: str) -> None:
    assert run(Rules(**{rule: False}), ORDERS[rule]).broken()
    assert not run(Rules(), ORDERS[rule]).broken()


@pytest.mark.parametrize("seed", range(20))
def test_in_long_random_orders_neither(seed: int) -> None:
    process = Process(Rules())
    for step in random.Random(seed).choices(STEPS, k=2000):
        step(process)
    assert len(process.tokens) > 10
    assert not process.broken()


def test_an_entry_is_listed_when_every_process_makes_newer_tokens_and_is_kept_until_no_older_one_lives() -> None:
    """Then a client that is refused gets a good token at the first try, and no token comes back to life."""
    assert MAX_EPOCH_AGE_SECONDS + MAX_TRANSACTION_SECONDS <= LISTED_AFTER_SECONDS
    assert MAX_TOKEN_SECONDS + MAX_LEEWAY_SECONDS + MAX_CLOCK_SECONDS == CHANGE_SECONDS
    # A token from an outage begins its life at the old reading, so it does not live a minute longer.
    assert MAX_OUTAGE_SECONDS < MAX_TOKEN_SECONDS


class Times:
    """One change and one service's token at random times, in seconds. The process may be stopped at any place."""

    def __init__(self, chance: random.Random, *, paused: bool) -> None:
        self.n = 1000.0
        self.committed_at = self.n + chance.uniform(0, MAX_TRANSACTION_SECONDS)
        self.requested_at = self.n + chance.uniform(-100, 100)
        pause = chance.choice([0.0, 0.1, 30.0, 5000.0]) if paused else 0.0
        # The question for the reading: not older than it may be, or sent because of the request.
        asked_at = self.requested_at + chance.uniform(-MAX_EPOCH_AGE_SECONDS, 0.5)
        self.reading = EpochReading(int(self.committed_at <= asked_at), asked_at)
        self.signed_at = max(asked_at, self.requested_at) + pause
        self.expires_at = self.reading.read_at + MAX_TOKEN_SECONDS


@pytest.mark.parametrize("paused", [False, True])
def test_a_refused_client_gets_a_good_token_and_no_old_token_outlives_the_memory_of_its_entry(*, paused: bool) -> None:
    old = [times for seed in range(300) if not (times := Times(random.Random(seed), paused=paused)).reading.epoch]
    assert len(old) > 100
    for times in old:
        # It was made from what was known before the change, so it was asked for before the entry was listed.
        assert times.requested_at < times.n + LISTED_AFTER_SECONDS
        # However late it was signed: as long as it lives, the entry refuses it.
        forgotten_at = times.n + CHANGE_SECONDS
        assert times.expires_at + MAX_LEEWAY_SECONDS <= forgotten_at - MAX_CLOCK_SECONDS + MAX_TRANSACTION_SECONDS
