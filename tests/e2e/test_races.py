"""Two server processes on one database, and many clients that use one refresh token at the same time (T-1)."""

import asyncio
import json
import sys
from collections.abc import Iterator

import httpx2
import pytest

from tests.e2e.conftest import free_ports, running
from tests.e2e.test_commands import COMMAND, PASSWORD, Commands

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("races")]

FORM = {"client_id": "spa"}


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Start two servers that share a database and its keys, with a client and an account. Yield their URLs."""
    folder = tmp_path_factory.mktemp("races")
    commands, ports = Commands(folder), free_ports(2)
    first, second = (f"http://127.0.0.1:{port}" for port in ports)
    known = commands.env | {"AUTHMINT_ISSUER": first, "AUTHMINT_LOG_LEVEL": "WARNING"}
    env = [known | {"AUTHMINT_PORT": str(port)} for port in ports]
    with (
        running(COMMAND, "serve", cwd=folder, env=env[0], output=folder / "first") as one,
        running(COMMAND, "serve", cwd=folder, env=env[1], output=folder / "second") as other,
    ):
        one.wait_for(f"{first}/readyz")
        other.wait_for(f"{second}/readyz")
        for arguments in (("clients", "add", "spa", "--public"), ("accounts", "add", "eve", "--password-stdin")):
            done = commands.run(*arguments, stdin=f"{PASSWORD}\n")
            assert 0 == done.returncode, done.stderr
        yield first, second


async def race(sites: tuple[str, str], *, at_once: int, times: int) -> None:
    limits = httpx2.Limits(max_connections=100)
    async with httpx2.AsyncClient(limits=limits, timeout=60, trust_env=False) as http:

        async def token(site: str, **form: str) -> httpx2.Response:
            return await http.post(f"{site}/token", data=FORM | form)

        rotations = retries = 0
        for _ in range(times):
            signed_in = await token(sites[0], grant_type="password", username="eve", password=PASSWORD)
            parent = signed_in.json()["refresh_token"]
            uses = (token(sites[number % 2], grant_type="refresh_token", refresh_token=parent) for number in range(at_once))
            responses = await asyncio.gather(*uses)
            assert {200} == {response.status_code for response in responses}
            children = {response.json()["refresh_token"] for response in responses}
            assert 1 == len(children - {parent})
            # One live child: it is redeemed, and the token that it returns is the only one that is redeemed next.
            (child,) = children
            grandchild = (await token(sites[1], grant_type="refresh_token", refresh_token=child)).json()["refresh_token"]
            assert grandchild not in {parent, child}
            rotations, retries = rotations + 1, retries + len(responses) - 1
    sys.stdout.write(json.dumps({"times": times, "at_once": at_once, "rotations": rotations, "same_child": retries}) + "\n")


@pytest.mark.timeout(120)
def test_of_many_uses_of_one_token_at_two_processes_one_rotates_and_all_get_its_child(sites: tuple[str, str]) -> None:
    asyncio.run(race(sites, at_once=200, times=3))


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_of_a_thousand_uses_of_one_token_a_hundred_times_over_one_rotates(sites: tuple[str, str]) -> None:
    asyncio.run(race(sites, at_once=1000, times=100))
