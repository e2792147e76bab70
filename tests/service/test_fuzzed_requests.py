"""Forms and refresh tokens that somebody has tampered with, at the whole application in this process (T-12).

What comes is an ASGI request, whose body is cut in two; so all is in it but uvicorn and its parser, which
`tests/e2e/test_fuzzed_over_http.py` has as well. Behind it is a real PostgreSQL. A password is looked at, and hashed, in some
of a thousand, as each hash takes twenty milliseconds; the others lack what a sign-in needs.
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
    codec = RefreshTokenCodec(keys, current_id=keys.current_id)
    return Known(spa.client_id, robot.client_id, secret, tokens["refresh_token"], tokens["access_token"], codec)


async def fuzz(service: Service, known: Known, count: int) -> dict[str, Any]:
    """`count` requests, half of them forms and half of them refresh tokens."""
    seed, started, statuses = random.randrange(2**32), time.monotonic(), Counter[str]()
    chance = random.Random(seed)
    fuzzer = Fuzzer(known, chance)
    kinds: tuple[tuple[str, Callable[[], Fuzzed]], ...] = (("forms", fuzzer.form), ("handles", fuzzer.handle))
    for number in range(count):
        kind, make = kinds[number % 2]
        asked = make()
        cut = chance.randint(0, len(asked.body))
        pieces = asked.body[:cut], asked.body[cut:]
        answer = await ask(service.app, "POST", asked.path, headers=asked.headers, body=pieces)
        check(asked, answer.status, answer.headers, answer.body)
        statuses[f"{kind} {asked.path} {answer.status}"] += 1
    figures = {
        "requests": count, "answers": dict(sorted(statuses.items())), "5xx": 0, "seed": seed,
        "seconds": round(time.monotonic() - started),
    }  # fmt: skip
    sys.stdout.write(json.dumps(figures) + "\n")
    return figures


async def test_forms_and_refresh_tokens_that_are_tampered_with_get_a_refusal_of_rfc_6749_and_no_echo(
    start_service: StartService, secret: str
) -> None:
    service = await start_service(log_level="ERROR")
    answers = (await fuzz(service, await known_to(service, secret), 3_000))["answers"]
    # Both sides of each door were seen, so that this is not about requests that fail at once, all in one way.
    assert {"/token 200", "/token 400", "/token 401", "/revoke 200", "/revoke 400", "/introspect 200", "/introspect 401"} <= {
        answer.split(" ", 1)[1] for answer in answers
    }


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_a_million_of_them_get_no_other_answer(start_service: StartService, secret: str) -> None:
    service = await start_service(log_level="ERROR")
    await fuzz(service, await known_to(service, secret), 1_000_000)
