"""A million tokens that somebody has tampered with, in four parts of a quarter each."""

import random
import string

import pytest

from authmint import ResourceServer
from authmint.challenge import BearerAuthError
from tests.library.conftest import AUDIENCE, ISSUER, NOW, Issuer

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

ALPHABET = string.ascii_letters + string.digits + "-_.=\0\n\"'{}é"


def tamper(token: str, chance: random.Random) -> str:
    """Some places of the token changed: a character in place of none, of one, or of a whole part."""
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(token))
        token = token[:place] + chance.choice(ALPHABET) + token[place + chance.choice((0, 1, 1, 30)) :]
    return token


@pytest.mark.parametrize("seed", range(4))
async def test_every_tampered_token_is_a_401_and_nothing_else(issuer: Issuer, seed: int) -> None:
    auth = ResourceServer(issuer=ISSUER, audience=AUDIENCE, jwks=issuer.jwks, clock=lambda: NOW)
    chance = random.Random(seed)
    originals = [issuer.token(), issuer.token(aud=[AUDIENCE, "billing"]), issuer.token(nbf=NOW), issuer.token(x={"y": ["z"]})]
    assert [await admitted(auth, token) for token in originals] == [None] * len(originals)
    for number in range(250_000):
        token = originals[number % len(originals)]
        tampered = tamper(token, chance)
        if tampered.strip(" ") != token:
            assert await admitted(auth, tampered) == 401, repr(tampered)


async def admitted(auth: ResourceServer, token: str) -> int | None:
    """The status of the answer that refuses it; None when it is let in."""
    try:
        await auth.authenticate({"type": "http", "headers": [(b"authorization", f"Bearer {token}".encode())]}, ())
    except BearerAuthError as refusal:
        return refusal.status_code
    return None
