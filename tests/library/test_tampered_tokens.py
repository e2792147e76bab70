"""Tokens that a third party has tampered with: some thousands, and in `make test-long` a million in four parts."""

import random
import string

import pytest

from authmint import BearerAuthError, ResourceServer
from tests.library.conftest import AUDIENCE, ISSUER, NOW, Issuer

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

ALPHABET = string.ascii_letters + string.digits + "-_.=\0\n\"'{}é"


def tamper(token: str, chance: random.Random) -> str:
    """Change some characters of the token: insert one, replace one, or replace a whole part."""
    for _ in range(chance.randint(1, 4)):
        position = chance.randrange(len(token))
        token = token[:position] + chance.choice(ALPHABET) + token[position + chance.choice((0, 1, 1, 30)) :]
    return token


@pytest.mark.parametrize(
    ("count", "seed"), [(10_000, 0), *(pytest.param(250_000, seed, marks=pytest.mark.long) for seed in range(4))]
)
async def test_every_tampered_token_is_a_401_and_nothing_else(issuer: Issuer, count: int, seed: int) -> None:
    auth = ResourceServer(issuer=ISSUER, audience=AUDIENCE, jwks=issuer.jwks, clock=lambda: NOW)
    chance = random.Random(seed)
    originals = [issuer.token(), issuer.token(aud=[AUDIENCE, "billing"]), issuer.token(nbf=NOW), issuer.token(x={"y": ["z"]})]
    assert [await status_of(auth, token) for token in originals] == [None] * len(originals)
    for number in range(count):
        token = originals[number % len(originals)]
        tampered = tamper(token, chance)
        if tampered.strip(" ") != token:
            assert await status_of(auth, tampered) == 401, repr(tampered)


async def status_of(auth: ResourceServer, token: str) -> int | None:
    """Return the status of the error that refuses it; None when it is accepted."""
    try:
        await auth.authenticate({"type": "http", "headers": [(b"authorization", f"Bearer {token}".encode())]}, ())
    except BearerAuthError as error:
        return error.status_code
    return None
