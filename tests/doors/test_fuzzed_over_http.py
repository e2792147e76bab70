"""The forms and refresh tokens of `tests/service/test_fuzzed_requests.py` once more, over HTTP at a server process (T-12)."""

import http.client
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.doors.furnished import furnished
from tests.service.fuzzing import Fuzzer, check

pytestmark = [pytest.mark.process, pytest.mark.long, pytest.mark.timeout(1800)]

COUNT = 50_000


def test_tens_of_thousands_of_tampered_requests_over_http_get_a_refusal_of_rfc_6749_and_no_echo(tmp_path: Path) -> None:
    seed, statuses, started = random.randrange(2**32), Counter[str](), time.monotonic()
    with furnished(tmp_path) as server:
        fuzzer = Fuzzer(server.known, random.Random(seed))
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        for number in range(COUNT):
            asked = fuzzer.handle() if number % 2 else fuzzer.form()
            headers = {
                name.decode(): value.decode("latin-1").replace("\r", "").replace("\n", "") for name, value in asked.headers
            }
            connection.request("POST", asked.path, body=asked.body, headers=headers)
            answer = connection.getresponse()
            check(asked, answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
            statuses[f"{asked.path} {answer.status}"] += 1
        connection.close()
    figures = {
        "requests": COUNT, "answers": dict(sorted(statuses.items())), "5xx": 0, "seed": seed,
        "seconds": round(time.monotonic() - started),
    }  # fmt: skip
    sys.stdout.write(json.dumps(figures) + "\n")
