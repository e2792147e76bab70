"""Simulations of 10,000 rotations each: clients that lose responses, and thieves that follow their owners (T-28, T-29)."""

import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import httpx2
import pytest

from authmint_service.request_source import RequestSource
from authmint_service.secret_keys import SecretKeys
from authmint_service.sessions import RotationPlaces
from authmint_service.sessions.rotation_rules import Repeats, RotationDecision, decide
from tests.service.conftest import Service, StartService
from tests.service.devices import SignedIn, sign_in

ROTATIONS = 10_000
GRACE, ACCESS_TOKEN_SECONDS = 30.0, 300.0
LATER_SECONDS = (10.0, 60.0, 3600.0, 12 * 3600.0)
PLACES = RotationPlaces(SecretKeys({1: b"k" * 32}), has_addresses=True)


def at(ip_address: str, user_agent: str = "an app") -> RequestSource:
    return RequestSource(request_id="", ip_address=ip_address, user_agent=user_agent)


HOME, ELSEWHERE = at("203.0.113.7"), at("198.51.100.9")


@dataclass
class SimulatedSession:
    """A session's row, changed as the statements change it. Each method takes the time, seconds."""

    generation: int = 0
    rotated_at: float = 0.0
    place: bytes | None = None
    repeats: Repeats = field(default_factory=Repeats)
    counts: Counter[str] = field(default_factory=Counter)
    end: RotationDecision | None = None

    def present(self, generation: int, source: RequestSource, now: float) -> bool:
        """Present the token of a generation. Return whether it brought the next one."""
        decision = decide(
            generation, current=self.generation, is_live=self.end is None, is_own=True,
            is_same_place=PLACES.is_same(self.place, source), seconds_since_rotation=now - self.rotated_at, grace=GRACE,
            repeats=self.repeats,
        )  # fmt: skip
        self.counts[decision.name] += 1
        match decision:
            case RotationDecision.ROTATE:
                self.generation, self.rotated_at, self.place = generation + 1, now, PLACES.hash(source, 1)
                self.repeats = Repeats(0, self.repeats.generations_elsewhere)
            case RotationDecision.REPEAT_LATE:
                self.repeats = replace(self.repeats, late=self.repeats.late + 1)
            case RotationDecision.REPEAT_ELSEWHERE if not self.repeats.is_counted:
                self.repeats = Repeats(self.repeats.late, self.repeats.generations_elsewhere + 1, is_counted=True)
            case RotationDecision.REVOKE_REUSED | RotationDecision.REVOKE_REPEATED:
                self.end = decision
        return decision.name in {"ROTATE", "REPEAT", "REPEAT_ELSEWHERE", "REPEAT_LATE"}


def report(name: str, **measured: object) -> None:
    sys.stdout.write(json.dumps({"simulation": name, "rotations": ROTATIONS, **measured}) + "\n")


def lose_responses(chance: random.Random, places: Callable[[], RequestSource]) -> SimulatedSession:
    """Refresh ROTATIONS times; of each hundred responses one is lost, and asked for again, soon or hours later."""
    session, now = SimulatedSession(), 0.0
    for generation in range(ROTATIONS):
        now += ACCESS_TOKEN_SECONDS
        while session.present(generation, places(), now) and chance.random() < 0.01:
            now += chance.choice(LATER_SECONDS)
    return session


def test_an_honest_client_that_loses_one_response_in_a_hundred_is_never_signed_out() -> None:
    session = lose_responses(random.Random(1), lambda: HOME)
    assert (None, ROTATIONS) == (session.end, session.generation)
    assert set(session.counts) == {"ROTATE", "REPEAT", "REPEAT_LATE"}
    report("honest client", **session.counts)


def test_a_proxy_that_alternates_between_two_addresses_of_a_network_signs_no_one_out() -> None:
    chance = random.Random(2)
    session = lose_responses(chance, lambda: at(chance.choice(("203.0.113.7", "203.0.113.250"))))
    assert (None, ROTATIONS) == (session.end, session.generation)
    assert 0 == session.counts["REPEAT_ELSEWHERE"]
    report("alternating proxy", **session.counts)


def test_two_tabs_that_share_their_token_are_never_signed_out() -> None:
    chance, session, now, stored = random.Random(3), SimulatedSession(), 0.0, 0
    while session.generation < ROTATIONS:
        now += ACCESS_TOKEN_SECONDS
        # Both read the stored token before the response to either arrives; the slower one is late now and then.
        read = stored
        for delay in sorted((chance.uniform(0, 2), chance.choice((chance.uniform(0, 2), chance.uniform(0, 200))))):
            if session.present(read, HOME, now + delay) and chance.random() > 0.01:
                stored = read + 1
        if stored == read:
            # Both responses were lost: one tab asks again.
            session.present(read, HOME, now + chance.choice(LATER_SECONDS))
            stored = read + 1
    assert session.end is None
    assert session.counts["REPEAT"] > 1000 < session.counts["REPEAT_LATE"]
    report("two tabs", **session.counts)


def phone(chance: random.Random, *, retries_within: float) -> tuple[Counter[str], int]:
    """Return what a phone's sessions came to, and how often it changed networks while a response was under way.

    It refreshes all day and changes networks ten times. One change in ten comes between a request and its response, which is
    lost then; of the other responses one in a hundred.
    """
    ends, lost_at_change, rotations = Counter[str](), 0, 0
    now, networks = 0.0, [at(f"10.{number}.0.1") for number in range(20)]
    while rotations < ROTATIONS:
        session, here = SimulatedSession(), chance.choice(networks)
        while session.end is None and rotations < ROTATIONS:
            now += ACCESS_TOKEN_SECONDS
            current = session.generation
            is_changing = chance.random() < 10 * ACCESS_TOKEN_SECONDS / 86_400
            is_lost = chance.random() < (0.1 if is_changing else 0.01)
            session.present(current, here, now)
            rotations += 1
            if is_changing:
                here = chance.choice([one for one in networks if one is not here])
            if is_lost:
                lost_at_change += is_changing
                session.present(current, here, now + chance.uniform(1, retries_within))
        ends[session.end.name if session.end else "live"] += 1
    return ends, lost_at_change


@pytest.mark.parametrize("retries_within", [20, 120])
def test_a_phone_is_signed_out_only_when_a_response_is_lost_while_it_changes_networks(retries_within: int) -> None:
    ends, lost_at_change = phone(random.Random(4), retries_within=retries_within)
    signed_out = ends["REVOKE_REUSED"] + ends["REVOKE_REPEATED"]
    assert 0 < signed_out <= lost_at_change <= 50
    if retries_within < GRACE:
        assert (0, lost_at_change // 3) == (ends["REVOKE_REUSED"], ends["REVOKE_REPEATED"])
    report("phone", days=35, retries_within=retries_within, lost_at_change=lost_at_change, signed_out=signed_out)


def follow(chance: random.Random, thief: RequestSource, guess: Callable[[float], float]) -> tuple[SimulatedSession, int]:
    """Refresh as an owner until the session ends; a thief with a copy presents it after each. Return how often that paid.

    `guess`: when the thief presents, given when the owner refreshes next.
    """
    session, now, owner, copy, taken = SimulatedSession(), 0.0, 0, 0, 0
    while session.end is None and session.generation < ROTATIONS:
        now += ACCESS_TOKEN_SECONDS * chance.uniform(0.95, 1.05)
        for time, is_thief in sorted([(now, False), (guess(now), True)]):
            if is_thief and session.present(copy, thief, time):
                copy, taken = copy + 1, taken + 1
            elif not is_thief and session.present(owner, HOME, time):
                owner += 1
    return session, taken


@pytest.mark.parametrize("how", ["oracle", "schedule"])
def test_a_thief_elsewhere_ends_the_session_within_three_generations(how: str) -> None:
    chance, ends, generations, taken_in_all = random.Random(5), Counter[str](), Counter[int](), 0
    rotations = 0
    while rotations < ROTATIONS:

        def guess(next_refresh: float) -> float:
            # One who sees each refresh follows within a second; one who knows the schedule is off by some seconds.
            return next_refresh + (chance.uniform(0.1, 1) if how == "oracle" else chance.gauss(10, 15))

        session, taken = follow(chance, ELSEWHERE, guess)
        rotations += session.generation
        ends[session.end.name if session.end else "live"] += 1
        generations[session.generation] += 1
        taken_in_all = max(taken_in_all, taken)
    assert set(ends) <= {"REVOKE_REPEATED", "REVOKE_REUSED"}
    assert max(generations) <= 3
    assert taken_in_all <= 3
    report(f"thief elsewhere, by {how}", ends=dict(ends), sessions_by_generations=dict(sorted(generations.items())))


def test_a_thief_behind_the_same_proxy_is_not_seen() -> None:
    """As the documentation says: only tokens that are bound to their client would tell."""
    chance = random.Random(6)
    session, taken = follow(chance, at("203.0.113.99"), lambda now: now + chance.uniform(0.1, 1))
    assert (None, ROTATIONS, ROTATIONS) == (session.end, session.generation, taken)
    assert {"ROTATE", "REPEAT"} == set(session.counts)
    report("thief behind the same proxy", taken=taken, seen=0)


@pytest.mark.parametrize("waited", LATER_SECONDS)
def test_of_a_thousand_lost_responses_none_signs_out_and_from_elsewhere_a_late_one_does(waited: float) -> None:
    session, now = SimulatedSession(), 0.0
    for generation in range(1000):
        now += ACCESS_TOKEN_SECONDS
        assert session.present(generation, HOME, now)
        assert session.present(generation, HOME, now + waited)
    assert session.end is None
    for _ in range(1000):
        stolen = SimulatedSession()
        stolen.present(0, HOME, 0)
        assert stolen.present(0, ELSEWHERE, waited) == (waited <= GRACE)
        assert stolen.end == (None if waited <= GRACE else RotationDecision.REVOKE_REUSED)


class OverHTTP:
    """The same over HTTP, behind a proxy that names the client in `X-Forwarded-For`."""

    def __init__(self, service: Service, owner: SignedIn) -> None:
        self._service, self._client, self.tokens = service, owner.client, [owner.refresh]

    async def present(self, generation: int, address: str) -> bool:
        answer: httpx2.Response = await self._service.http.post(
            "/token",
            data={"grant_type": "refresh_token", "client_id": self._client.client_id, "refresh_token": self.tokens[generation]},
            headers={"X-Forwarded-For": address},
        )
        if answer.status_code == 200 and generation + 1 == len(self.tokens):
            self.tokens.append(answer.json()["refresh_token"])
        return answer.status_code == 200


@pytest.mark.anyio
async def test_over_http_a_thief_elsewhere_is_ended_and_one_of_the_same_network_is_not_seen(
    start_service: StartService,
) -> None:
    service = await start_service(trusted_proxies="127.0.0.1")
    for thief, expected in (("198.51.100.9", [True, True, False]), ("203.0.113.99", [True] * 3)):
        session = OverHTTP(service, await sign_in(service))
        followed = []
        for generation in range(3):
            assert await session.present(generation, "203.0.113.7")
            service.clock.now += 1
            followed.append(await session.present(generation, thief))
            service.clock.now += ACCESS_TOKEN_SECONDS
        assert expected == followed
        assert expected[-1] == await session.present(3, "203.0.113.7")


@pytest.mark.anyio
async def test_over_http_an_honest_client_loses_responses_behind_a_proxy_with_two_addresses(
    start_service: StartService,
) -> None:
    service, chance = await start_service(trusted_proxies="127.0.0.1"), random.Random(7)
    session = OverHTTP(service, await sign_in(service))
    for generation in range(20):
        assert await session.present(generation, chance.choice(("203.0.113.7", "203.0.113.250")))
        service.clock.now += chance.choice(LATER_SECONDS)
        assert await session.present(generation, chance.choice(("203.0.113.7", "203.0.113.250")))
