"""The forms and refresh tokens of `tests/service/test_fuzzed_requests.py` once more, over HTTP at a server process (T-12)."""

import base64
import http.client
import json
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from authmint_service.secret_keys import SecretKeys
from authmint_service.sessions import RefreshTokenCodec
from tests.e2e.conftest import fetch, running
from tests.e2e.test_commands import COMMAND, PASSWORD, Commands
from tests.service.fuzzing import Fuzzer, Known, check

pytestmark = [pytest.mark.process, pytest.mark.long, pytest.mark.timeout(1800)]

COUNT = 50_000


@contextmanager
def served(folder: Path) -> Iterator[tuple[int, Known]]:
    """The port of a server with two clients and a person. Fails at the end if it has said that anything was unexpected."""
    commands, keys = Commands(folder), f"1:{base64.b64encode(secrets.token_bytes(32)).decode()}"
    site = f"http://127.0.0.1:{commands.port}"
    env = commands.env | {"AUTHMINT_LOG_LEVEL": "WARNING", "AUTHMINT_REFRESH_TOKEN_KEYS": keys}
    with running(COMMAND, "serve", cwd=folder, env=env, output=folder / "said") as process:
        process.wait_for(f"{site}/readyz")
        robot = ("clients", "add", "robot", "--confidential", "--scope", "orders:read", "--resource", "orders", "--json")
        spa, person = ("clients", "add", "spa", "--public"), ("accounts", "add", "eve", "--password-stdin")
        done = [commands.run(*arguments, stdin=f"{PASSWORD}\n") for arguments in (robot, spa, person)]
        assert [0, 0, 0] == [one.returncode for one in done], done
        form = {"grant_type": "password", "client_id": "spa", "username": "eve", "password": PASSWORD}
        tokens = json.loads(fetch(f"{site}/token", data=form)[1])
        assert 200 == fetch(f"{site}/revoke", data={"client_id": "spa", "token": tokens["refresh_token"]})[0]
        secret = json.loads(done[0].stdout)["client_secret"]
        codec = RefreshTokenCodec(SecretKeys.parse(keys, "keys"))
        yield commands.port, Known("spa", "robot", secret, tokens["refresh_token"], tokens["access_token"], codec)
        assert 200 == fetch(f"{site}/readyz")[0]
        assert "error.unexpected" not in process.said
        assert "Traceback" not in process.said


def test_tens_of_thousands_of_tampered_requests_over_http_get_a_refusal_of_rfc_6749_and_no_echo(tmp_path: Path) -> None:
    seed, statuses, started = random.randrange(2**32), Counter[str](), time.monotonic()
    with served(tmp_path) as (port, known):
        fuzzer = Fuzzer(known, random.Random(seed))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        for number in range(COUNT):
            asked = fuzzer.handle() if number % 2 else fuzzer.form()
            headers = {name.decode(): value.decode("latin-1") for name, value in asked.headers}
            connection.request("POST", asked.path, body=asked.body, headers=headers)
            answer = connection.getresponse()
            check(asked, answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
            statuses[f"{asked.path} {answer.status}"] += 1
        connection.close()
    result = {
        "requests": COUNT, "answers": dict(sorted(statuses.items())), "5xx": 0, "seed": seed,
        "seconds": round(time.monotonic() - started),
    }  # fmt: skip
    sys.stdout.write(json.dumps(result) + "\n")
