"""Tampered forms and refresh tokens, sent to the whole application in this process (T-12).

Each is an ASGI request whose body is cut in two: everything takes part but uvicorn and its parser, which
`tests/e2e/test_fuzzed_over_http.py` adds. The database is a real PostgreSQL. A few requests of a thousand have a password to
hash, as each hash takes 20 ms; the others lack what a sign-in needs.
"""

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from authmint_service.secret_keys import SecretKeys
from authmint_service.sessions import RefreshTokenCodec
from tests.service.asgi import ask
from tests.service.conftest import SECRET_KEYS, Service, StartService
from tests.service.fuzzing import Fuzzed, Fuzzer, Known, check

pytestmark = pytest.mark.anyio


async def known_to(service: Service, secret: str) -> Known:
    user, spa, robot = await service.add_account(), await service.add_client(), await service.add_client(secret)
    tokens = (await service.sign_in(spa, user)).json()
    await service.http.post("/revoke", data={"client_id": spa.client_id, "token": tokens["refresh_token"]})
    keys = SecretKeys.parse(SECRET_KEYS["refresh_token_keys"], "refresh_token_keys")
    codec = RefreshTokenCodec(keys)
    return Known(spa.client_id, robot.client_id, secret, tokens["refresh_token"], tokens["access_token"], codec)


async def fuzz(service: Service, known: Known, count: int) -> dict[str, Any]:
    """Send `count` requests, half of them forms and half of them refresh tokens. Return a summary."""
    seed, started, statuses = random.randrange(2**32), time.monotonic(), Counter[str]()
    chance = random.Random(seed)
    fuzzer = Fuzzer(known, chance)
    kinds: tuple[tuple[str, Callable[[], Fuzzed]], ...] = (("forms", fuzzer.form), ("handles", fuzzer.handle))
    for number in range(count):
        kind, make = kinds[number % 2]
        request = make()
        cut = chance.randint(0, len(request.body))
        pieces = request.body[:cut], request.body[cut:]
        answer = await ask(service.app, "POST", request.path, headers=request.headers, body=pieces)
        check(request, answer.status, answer.headers, answer.body)
        statuses[f"{kind} {request.path} {answer.status}"] += 1
    summary = {
        "requests": count, "answers": dict(sorted(statuses.items())), "5xx": 0, "seed": seed,
        "seconds": round(time.monotonic() - started),
    }  # fmt: skip
    sys.stdout.write(json.dumps(summary) + "\n")
    return summary


async def test_tampered_forms_and_refresh_tokens_get_an_error_of_rfc_6749_and_no_echo(
    start_service: StartService, secret: str
) -> None:
    service = await start_service(log_level="ERROR")
    answers = (await fuzz(service, await known_to(service, secret), 3_000))["answers"]
    # Success and failure of each endpoint were seen: the requests do not all fail at once, in one way.
    assert {"/token 200", "/token 400", "/token 401", "/revoke 200", "/revoke 400", "/introspect 200", "/introspect 401"} <= {
        answer.split(" ", 1)[1] for answer in answers
    }


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_a_million_of_them_get_no_other_response(start_service: StartService, secret: str) -> None:
    service = await start_service(log_level="ERROR")
    await fuzz(service, await known_to(service, secret), 1_000_000)
