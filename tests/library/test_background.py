"""Fetching does not depend on who waits for it: a loop for each call, threads, cancelled callers, forks, exits."""

import asyncio
import contextlib
import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import Any

import httpx
import httpx2
import pytest

from authmint import InvalidToken, Principal, ResourceServer, ServiceAuth, ServiceAuthError
from authmint.background import Job
from authmint.background_thread import THREAD_NAME
from authmint.elapsed_time import ElapsedTime
from tests.library.conftest import AUDIENCE, Issuer
from tests.library.web import Clock, Web, publish, publish_list, web_in_thread

Verify = Callable[[ResourceServer, str], Principal]


def in_a_loop_of_its_own(server: ResourceServer, token: str) -> Principal:
    return asyncio.run(server.verify(token))


def in_a_thread_with_a_loop(server: ResourceServer, token: str) -> Principal:
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(in_a_loop_of_its_own, server, token).result()


def without_a_loop(server: ResourceServer, token: str) -> Principal:
    return server.verify_sync(token)


WAYS = pytest.mark.parametrize("verify", [in_a_loop_of_its_own, in_a_thread_with_a_loop, without_a_loop])


@pytest.fixture
def site() -> Iterator[Web]:
    with web_in_thread() as site:
        yield site


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_good(verify: Verify, server: ResourceServer, token: str) -> bool:
    try:
        return verify(server, token).sub == "6f1c"
    except InvalidToken:
        return False


@WAYS
def test_a_removed_key_dies_and_the_new_one_is_good_whatever_runs_the_calls(site: Web, issuer: Issuer, verify: Verify) -> None:
    clock, newcomer = Clock(), Issuer()
    publish(site, issuer)
    server = ResourceServer(issuer=site.url, audience=AUDIENCE, clock=clock)
    old, new = issuer.token(iss=site.url), newcomer.token(iss=site.url)
    assert is_good(verify, server, old)
    publish(site, newcomer)
    clock.now += 270
    # The keys may be stale now, and a first call begins to refresh them.
    is_good(verify, server, old)
    clock.now += 31
    is_good(verify, server, old)
    until(lambda: site.hits.count("/jwks") >= 2)
    until(lambda: not server._state.verifier.issuers[site.url].keys.job.is_running)  # type: ignore[attr-defined]  # a RemoteKeySet
    results = [(is_good(verify, server, old), is_good(verify, server, new)) for _ in range(21)]
    assert [(False, True)] * 21 == results


@WAYS
def test_keys_that_nothing_could_refresh_are_not_used_before_a_refresh(site: Web, issuer: Issuer, verify: Verify) -> None:
    """A function instance is frozen between two requests: its thread stands still, and an hour passes at once."""
    clock, newcomer = Clock(), Issuer()
    publish(site, issuer)
    server = ResourceServer(issuer=site.url, audience=AUDIENCE, clock=clock)
    assert is_good(verify, server, issuer.token(iss=site.url))
    publish(site, newcomer)
    clock.now += 3600
    now = int(clock.now)
    assert not is_good(verify, server, issuer.token(iss=site.url, iat=now, exp=now + 300))
    assert is_good(verify, server, newcomer.token(iss=site.url, iat=now, exp=now + 300))


@WAYS
def test_eight_threads_cause_one_fetch(site: Web, issuer: Issuer, verify: Verify) -> None:
    publish(site, issuer)
    server, tokens = ResourceServer(issuer=site.url, audience=AUDIENCE, clock=Clock()), [issuer.token(iss=site.url)] * 8
    with ThreadPoolExecutor(8) as threads:
        assert {"6f1c"} == {who.sub for who in threads.map(lambda token: verify(server, token), tokens)}
    assert 1 == site.hits.count("/jwks")
    assert 1 == sum(thread.name == THREAD_NAME for thread in threading.enumerate())


def test_a_fetch_goes_on_when_its_caller_is_cancelled_together_with_its_loop(site: Web, issuer: Issuer) -> None:
    publish(site, issuer)
    site.delays["/jwks"] = 0.3
    server, token = ResourceServer(issuer=site.url, audience=AUDIENCE, clock=Clock()), issuer.token(iss=site.url)

    async def give_up() -> None:
        async with asyncio.timeout(0.1):
            await server.verify(token)

    for _ in range(2):
        with pytest.raises(TimeoutError):
            asyncio.run(give_up())
    abandoned = asyncio.new_event_loop()
    task = abandoned.create_task(server.verify(token))
    abandoned.run_until_complete(asyncio.sleep(0.01))
    # Nobody ends the task, so that its loop is closed while it waits.
    abandoned.close()
    assert "6f1c" == server.verify_sync(token).sub
    assert 1 == site.hits.count("/jwks")
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio would report that the task never ended
    with contextlib.suppress(RuntimeError):
        task.get_coro().close()


def test_an_attempt_counts_when_it_has_an_outcome(site: Web, issuer: Issuer) -> None:
    publish(site, issuer)
    server, token = ResourceServer(issuer=site.url, audience=AUDIENCE, clock=Clock()), issuer.token(iss=site.url)
    site.delays["/jwks"] = 5

    async def start_and_stop() -> None:
        async with server.lifespan():
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("authmint.resource_server.TIMEOUT", 0.2)
        asyncio.run(start_and_stop())
    del site.delays["/jwks"]
    # The clock stands still: an attempt that had counted would hold the next one back.
    assert "6f1c" == server.verify_sync(token).sub


def test_what_goes_on_in_the_background_keeps_nothing_of_the_request_that_began_it(site: Web, issuer: Issuer) -> None:
    """Its lines in the log would have the id of that request for ever, and its memory would stay."""
    publish(site, issuer)
    publish_list(site, issuer)
    seen: list[tuple[str, object]] = []
    request: ContextVar[object] = ContextVar("request", default=None)
    server = ResourceServer(
        issuer=site.url, audience=AUDIENCE, clock=Clock(), revocation_list=True,
        observer=lambda event: seen.append((event.name, request.get())),
    )  # fmt: skip

    def begin() -> None:
        request.set(object())
        server.verify_sync(issuer.token(iss=site.url))

    copy_context().run(begin)
    until(lambda: [name for name, _ in seen].count("list_fetched") >= 2)
    assert {"keys_fetched", "list_fetched"} == {name for name, value in seen if value is None}


def test_a_need_that_comes_during_a_run_does_not_end_the_runs_that_follow() -> None:
    class Owner:
        def __init__(self) -> None:
            self.runs, self.job = 0, Job(self.work)

        async def work(self) -> float:
            self.runs += 1
            await asyncio.sleep(0.2)
            return 0.01

    owner = Owner()
    owner.job.run()
    until(lambda: owner.runs == 1)
    owner.job.run_within(0)
    until(lambda: owner.runs == 3)


def test_a_dropped_server_stops_fetching_and_leaves_nothing(site: Web, issuer: Issuer) -> None:
    publish(site, issuer)
    publish_list(site, issuer)
    servers = [ResourceServer(issuer=site.url, audience=AUDIENCE, clock=Clock(), revocation_list=True) for _ in range(5)]
    for server in servers:
        server.verify_sync(issuer.token(iss=site.url))
    left = [weakref.ref(server) for server in servers]
    del server
    servers.clear()

    def is_gone() -> bool:
        gc.collect()
        return not any(reference() for reference in left)

    until(is_gone)
    seen = len(site.hits)
    time.sleep(0.5)
    assert seen == len(site.hits)


def service_auth(site: Web) -> ServiceAuth:
    site.json("/token", {"access_token": "one", "token_type": "Bearer", "expires_in": 100})
    site.json("/who", {})
    return ServiceAuth(issuer=site.url, token_url=f"{site.url}/token", client_id="c", client_secret="s" * 32, clock=Clock())


def get(library: Any, auth: ServiceAuth, url: str) -> int:
    with library.Client(auth=auth) as client:
        return int(client.get(url).status_code)


async def get_async(library: Any, auth: ServiceAuth, url: str) -> int:
    async with library.AsyncClient(auth=auth) as client:
        return int((await client.get(url)).status_code)


def get_in_a_loop(library: Any, auth: ServiceAuth, url: str) -> int:
    return asyncio.run(get_async(library, auth, url))


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
@pytest.mark.parametrize("send", [get, get_in_a_loop])
def test_eight_threads_cause_one_token_request(site: Web, library: Any, send: Callable[..., int]) -> None:
    auth = service_auth(site)
    site.delays["/token"] = 0.2
    with ThreadPoolExecutor(8) as threads:
        assert [200] * 8 == list(threads.map(lambda _: send(library, auth, f"{site.url}/who"), range(8)))
    assert 1 == site.hits.count("/token")


def test_a_caller_that_is_cancelled_together_with_its_loop_delays_no_other(site: Web) -> None:
    auth = service_auth(site)
    site.delays["/token"] = 5

    async def give_up() -> None:
        async with asyncio.timeout(0.1):
            await get_async(httpx2, auth, f"{site.url}/who")

    for _ in range(2):
        with pytest.raises(TimeoutError):
            asyncio.run(give_up())
    del site.delays["/token"]
    started = time.monotonic()
    assert 200 == get(httpx2, auth, f"{site.url}/who")
    assert time.monotonic() - started < 2


def test_all_who_wait_for_a_token_hear_the_same_error(site: Web) -> None:
    auth = service_auth(site)
    site.json("/token", {"error": "invalid_client"}, status=401)
    site.delays["/token"] = 0.5
    errors = []
    together = threading.Barrier(8)

    def send(client: httpx2.Client) -> None:
        together.wait()
        with pytest.raises(ServiceAuthError, match=r"401 \(invalid_client\)") as raised:
            client.get(f"{site.url}/who")
        errors.append(str(raised.value))

    with contextlib.ExitStack() as stack, ThreadPoolExecutor(8) as threads:
        clients = [stack.enter_context(httpx2.Client(auth=auth)) for _ in range(8)]
        list(threads.map(send, clients))
    assert (8, 1) == (len(errors), len(set(errors)))
    assert 1 == site.hits.count("/token")


def test_time_in_which_the_process_was_frozen_has_passed_and_none_is_given_back() -> None:
    now = {"monotonic": 100.0, "wall": 5000.0}
    elapsed = ElapsedTime(monotonic=lambda: now["monotonic"], wall_clock=lambda: now["wall"])
    first = elapsed()
    now["monotonic"], now["wall"] = 101.0, 5001.0
    assert 1 == elapsed() - first
    # A virtual machine was paused for an hour; then the wall clock is set back by a day.
    now["wall"] += 3600
    assert 3601 == elapsed() - first
    now["wall"] -= 86_400
    assert 3601 == elapsed() - first
    now["monotonic"] += 5
    assert 3606 == elapsed() - first


PROGRAM = """
import os, sys, threading, time
from authmint import IssuerUnavailable, ResourceServer

url, tokens = sys.argv[1], sys.argv[2:]
server = ResourceServer(issuer=url, audience="orders", clock=lambda: now)
now = 1_800_000_000

def threads():
    return [thread.name for thread in threading.enumerate()].count("authmint-background")

def result(token):
    try:
        return server.verify_sync(token).sub
    except IssuerUnavailable:
        return "unavailable"

"""

FORK = """
assert result(tokens[0]) == "6f1c", result(tokens[0])
child = os.fork()
if child == 0:
    assert threads() == 0
    now += 3600
    # The keys are too old to be used without a refresh, which the child's own thread brings.
    assert result(tokens[1]) == "6f1c", result(tokens[1])
    assert threads() == 1
    sys.exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
now += 3600
assert result(tokens[1]) == "6f1c"
print("done", threads())
"""

FORK_DURING_A_FETCH = """
from authmint.turns import Turns
turns = Turns()
assert turns.claim()[1]
waiting = threading.Thread(target=result, args=(tokens[0],), daemon=True)
waiting.start()
time.sleep(0.3)
child = os.fork()
if child == 0:
    # A turn that is under way in the parent is not under way here.
    assert turns.claim()[1]
    print(result(tokens[0]))
    sys.exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
waiting.join()
print("done", threads())
"""

FORK_OF_A_FOLLOWER = """
from authmint import InvalidToken
follower = ResourceServer(issuer=url, audience="orders", revocation_list=True, clock=lambda: now)

def refusal(token):
    try:
        follower.verify_sync(token)
    except InvalidToken as error:
        return error.reason

assert refusal(tokens[0]) is None
child = os.fork()
if child == 0:
    print("forked", flush=True)
    sys.stdin.readline()
    print(refusal(tokens[0]), flush=True)
    assert threads() == 1
    while not refusal(tokens[1]):
        time.sleep(0.02)
    sys.exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
"""

FORK_WITHOUT_HOOKS = """
import ctypes, signal
assert result(tokens[0]) == "6f1c", result(tokens[0])
child = ctypes.PyDLL(None).fork()
signal.alarm(20)
now += 3600
found = result(tokens[1])
if child == 0:
    os._exit(3 if found == "6f1c" else 4)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
print("done", found)
"""

IMPORTS = """
class Finder:
    def find_spec(self, name, *_):
        if threading.current_thread() is not threading.main_thread():
            print(name, "in", threading.current_thread().name)

sys.meta_path.insert(0, Finder())
follower = ResourceServer(issuer=url, audience="orders", revocation_list=True, clock=lambda: now)
print(follower.verify_sync(tokens[0]).sub, follower.revocation_list_age)
"""

EXIT_DURING_A_FETCH = """
import socket
socket.getaddrinfo = lambda *_, **__: time.sleep(60)
# This one waits for a name that nothing resolves, and the other one for its keys.
elsewhere = ResourceServer(issuer="https://auth.example", audience="orders", revocation_list=True)
elsewhere.problems()
threading.Thread(target=result, args=(tokens[0],), daemon=True).start()
while not any(thread.name == "authmint-lookup" for thread in threading.enumerate()):
    time.sleep(0.05)
time.sleep(0.3)
print(time.monotonic())
"""


def run_program(site: Web, program: str, *tokens: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM + program, site.url, *tokens],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert ("", 0) == (done.stderr, done.returncode)
    return done.stdout


def test_a_forked_process_has_a_thread_of_its_own_and_both_exit_without_a_warning(site: Web, issuer: Issuer) -> None:
    publish(site, issuer)
    now = 1_800_000_000
    later = issuer.token(iss=site.url, iat=now + 3600, exp=now + 3900)
    assert "done 1\n" == run_program(site, FORK, issuer.token(iss=site.url), later)
    assert 3 == site.hits.count("/jwks")


def test_a_process_that_was_forked_without_pythons_hooks_has_a_thread_of_its_own_too(site: Web, issuer: Issuer) -> None:
    """uWSGI forks so. Nothing would ever end the wait for a thread that only the parent has."""
    publish(site, issuer)
    now = 1_800_000_000
    later = issuer.token(iss=site.url, iat=now + 3600, exp=now + 3900)
    assert "done 6f1c\n" == run_program(site, FORK_WITHOUT_HOOKS, issuer.token(iss=site.url), later)


def test_a_forked_process_follows_the_list_by_itself_from_its_first_request_on(site: Web, issuer: Issuer) -> None:
    """What it has of its parent is as old as the fork: it may have been idle since."""
    publish(site, issuer)
    publish_list(site, issuer)
    tokens = [issuer.token(iss=site.url, sid=sid) for sid in ("one", "two")]
    command = [sys.executable, "-W", "error", "-c", PROGRAM + FORK_OF_A_FOLLOWER, site.url, *tokens]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as program:
        assert program.stdin
        assert program.stdout
        assert "forked\n" == program.stdout.readline()
        publish_list(site, issuer, "one")
        program.stdin.write("\n")
        program.stdin.flush()
        assert "revoked\n" == program.stdout.readline()
        publish_list(site, issuer, "one", "two")
        assert "" == program.communicate(timeout=20)[0]
    assert 0 == program.returncode


def test_a_fork_during_a_fetch_waits_for_nothing_of_its_parent(site: Web, issuer: Issuer) -> None:
    publish(site, issuer)
    site.delays["/jwks"] = 1
    assert "6f1c\ndone 1\n" == run_program(site, FORK_DURING_A_FETCH, issuer.token(iss=site.url))
    assert 2 == site.hits.count("/jwks")


def test_the_thread_imports_nothing(site: Web, issuer: Issuer) -> None:
    """A process that is forked meanwhile would wait for the rest of the module for ever."""
    publish(site, issuer)
    publish_list(site, issuer)
    assert "6f1c 0.0\n" == run_program(site, IMPORTS, issuer.token(iss=site.url))


def test_an_interpreter_exits_at_once_and_without_a_warning_during_a_fetch(site: Web, issuer: Issuer) -> None:
    publish(site, issuer)
    site.answers["/jwks"] = None
    ended = run_program(site, EXIT_DURING_A_FETCH, issuer.token(iss=site.url))
    assert time.monotonic() - float(ended) < 2
