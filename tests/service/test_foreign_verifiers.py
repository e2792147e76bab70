"""Third-party libraries verify our tokens from the published keys alone, before and after a rotation."""

import asyncio
import json
import shutil
import subprocess
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jwt
import pytest
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet

from authmint_service.signing_keys.schedule import ANNOUNCE_SECONDS
from tests.service.conftest import Clock, StartService
from tests.service.signing import empty_store, jwks_of, kid_of
from tests.service.test_resource_services import at_one_address, token_for

pytestmark = [pytest.mark.anyio, pytest.mark.clients, pytest.mark.xdist_group("foreign verifiers")]

AUDIENCE = "orders"
VERIFY = Path(__file__).resolve().parents[1] / "browser/verify.mjs"


def with_pyjwt(site: str, jwks: dict[str, Any], tokens: Sequence[str]) -> list[str]:
    """Fetches by itself."""
    client = jwt.PyJWKClient(f"{site}/.well-known/jwks.json")
    algorithms = ["ES256", "RS256"]
    keys = [client.get_signing_key_from_jwt(token) for token in tokens]
    return [
        str(jwt.decode(token, key, algorithms=algorithms, audience=AUDIENCE, issuer=site)["sub"])
        for token, key in zip(tokens, keys, strict=True)
    ]


def with_joserfc(site: str, jwks: dict[str, Any], tokens: Sequence[str]) -> list[str]:
    keys = KeySet.import_key_set(jwks)  # type: ignore[arg-type]  # a key set, as it came
    registry = joserfc_jwt.JWTClaimsRegistry(iss={"essential": True, "value": site}, aud={"essential": True, "value": AUDIENCE})
    subjects = []
    for token in tokens:
        decoded = joserfc_jwt.decode(token, keys, algorithms=["ES256", "RS256"])
        registry.validate(decoded.claims)
        subjects.append(str(decoded.claims["sub"]))
    return subjects


def with_authlib(site: str, jwks: dict[str, Any], tokens: Sequence[str]) -> list[str]:
    with warnings.catch_warnings():
        # Its authors advise joserfc for new code; existing code still uses this module.
        warnings.simplefilter("ignore")
        from authlib.jose import JsonWebKey, JsonWebToken
    keys = JsonWebKey.import_key_set(jwks)
    options = {"iss": {"essential": True, "value": site}, "aud": {"essential": True, "value": AUDIENCE}}
    subjects = []
    for token in tokens:
        claims = JsonWebToken(["ES256", "RS256"]).decode(token, keys, claims_options=options)
        claims.validate()
        subjects.append(str(claims["sub"]))
    return subjects


def with_jose_from_npm(site: str, jwks: dict[str, Any], tokens: Sequence[str]) -> list[str]:
    """Fetches by itself."""
    assert shutil.which("node"), "node is missing. Run `make test`, which says how to get it."
    command = ["node", str(VERIFY), f"{site}/.well-known/jwks.json", site, AUDIENCE, str(int(time.time())), *tokens]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert 0 == done.returncode, done.stderr
    subjects: list[str] = json.loads(done.stdout)
    return subjects


@pytest.mark.parametrize(("before", "after"), [("ES256", "RS256"), ("RS256", "ES256")])
@pytest.mark.parametrize("verify", [with_pyjwt, with_joserfc, with_authlib, with_jose_from_npm])
@pytest.mark.slow
async def test_a_third_party_verifies_from_the_published_keys_before_and_after_a_rotation(
    server_dsn: str,
    start_service: StartService,
    secret: str,
    monkeypatch: pytest.MonkeyPatch,
    verify: Callable[[str, dict[str, Any], Sequence[str]], list[str]],
    before: str,
    after: str,
) -> None:
    monkeypatch.setattr("authmint_service.change_feed.POLL_SECONDS", 0.02)
    # Third parties have a clock of their own, so this one begins at the time it is.
    clock = Clock(time.time() - ANNOUNCE_SECONDS - 5)
    async with at_one_address() as services, empty_store(server_dsn) as (dsn, _, _):
        options: dict[str, Any] = {"at": dsn, "clock": clock, "issuer": services.url, "signing_rsa_bits": 2048}
        service = await start_service(**options, signing_algorithm=before, access_token_ttl=3600)
        services.current = service.app
        client = await service.add_client(secret, default_resources=(AUDIENCE,))
        issued = []

        async def all_verified() -> bool:
            issued.append(await token_for(service, client, secret))
            jwks = await jwks_of(service)
            subjects = await asyncio.to_thread(verify, services.url, jwks, issued)
            return subjects == [client.subject] * len(issued)

        assert await all_verified()
        await service.stop()
        service = await start_service(**options, signing_algorithm=after, access_token_ttl=3600)
        services.current = service.app
        assert await all_verified()
        clock.now += ANNOUNCE_SECONDS + 1
        assert await all_verified()
        # The second was issued while the next key was announced, and the third by that one.
        kids = [kid_of(token) for token in issued]
        assert kids[0] == kids[1] != kids[2]
