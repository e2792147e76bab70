"""Wycheproof's JWS vectors: no invalid one is accepted, and valid ones are refused only for algorithms named here."""

import hmac
import json
import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from authmint import InvalidToken, ResourceServer
from authmint.errors import ConfigurationError, IssuerUnavailable
from authmint.jose import Parser, SharedSecretKey, VerifyingKey, decode_base64url
from authmint.secret_strength import is_guessable

ROOT = Path(__file__).resolve().parents[2]
NAME = "wycheproof_json_web_signature_test.json"


def vector_file() -> Path | None:
    """Return the file in the folder that AUTHMINT_TEST_VECTORS names, or beside this repository, or beside its origin."""
    if named := os.environ.get("AUTHMINT_TEST_VECTORS"):
        return Path(named) / NAME
    command = ["git", "config", "--get", "remote.origin.url"]
    origin = (
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip().removeprefix("file://")
    )
    for repository in (ROOT, ROOT / origin):
        for folder in repository.parents:
            if (folder / "shared" / "vectors" / NAME).exists():
                return folder / "shared" / "vectors" / NAME
    return None


# RSASSA-PSS is not offered, HS256 is no algorithm for a published key, and `ES521` is none at all: RFC 7518 calls it ES512.
NOT_OFFERED = {"PS256", "PS384", "PS512", "HS256", "HS384", "HS512", "ES521"}

# The file contradicts itself here. The first two, "invalid padding", have no padding: they are good tokens, letter for letter.
# The other two are called valid and have a question mark in the middle of base64url.
GOOD_YET_CALLED_INVALID, BAD_YET_CALLED_VALID = {367, 370}, {372, 373}


def groups() -> list[dict[str, Any]]:
    file = vector_file()
    if file is None or not file.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{NAME} is missing. Set AUTHMINT_TEST_VECTORS to the folder that has it.")
        pytest.skip(f"{NAME} is not on this computer; AUTHMINT_TEST_VECTORS names its folder")
    found: list[dict[str, Any]] = json.loads(file.read_text())["testGroups"]
    return found


def accepts(key: VerifyingKey, jws: str) -> bool:
    try:
        key.verify(Parser(types=None).parse(jws))
    except InvalidToken:
        return False
    return True


def asymmetric_key(group: dict[str, Any]) -> VerifyingKey | None:
    """Return the key as the dependency loads it; None when it refuses to."""
    try:
        return VerifyingKey.from_jwk({"kid": "the key", **(group.get("public") or group["private"])})
    except ValueError:
        return None


def algorithms(group: dict[str, Any], jws: str) -> set[str]:
    """Return the algorithms that the key and the token name."""
    jwk = group.get("public") or group["private"]
    try:
        header = json.loads(decode_base64url(jws.split(".")[0]))
    except ValueError:
        header = {}
    return {str(jwk.get("alg", "")), str(header.get("alg", ""))}


def test_no_invalid_vector_is_accepted_and_valid_ones_are_refused_only_for_algorithms_named_above() -> None:
    seen: Counter[str] = Counter()
    for group in groups():
        key = asymmetric_key(group)
        for vector in group["tests"]:
            accepted = key is not None and accepts(key, vector["jws"])
            seen[f"{vector['result']} {'accepted' if accepted else 'refused'}"] += 1
            if vector["result"] == "invalid":
                assert not accepted, vector
            elif not accepted:
                assert algorithms(group, vector["jws"]) & NOT_OFFERED, (vector["tcId"], vector["comment"], group["comment"])
    assert 401 == sum(seen.values())
    assert seen["valid accepted"] > 5, seen


class _Secret:
    """An HMAC key of any strength."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, msg: bytes) -> bytes:
        return hmac.digest(self._secret, msg, "sha256")

    def verify(self, msg: bytes, sig: bytes) -> bool:
        return hmac.compare_digest(self.sign(msg), sig)


def test_with_a_shared_secret_the_hs256_vectors_hold_but_for_four_that_contradict_themselves() -> None:
    seen: Counter[str] = Counter()
    for group in groups():
        private = group.get("private", {})
        if private.get("kty") != "oct" or private.get("alg") != "HS256":
            continue
        secret = decode_base64url(private["k"])
        # The secret of one group is zeros, and no SharedSecretKey can have it.
        weak = VerifyingKey(_Secret(secret), algorithm="HS256", kid=None)
        key = weak if is_guessable(secret) else SharedSecretKey(secret)
        for vector in group["tests"]:
            number, is_valid = vector["tcId"], vector["result"] == "valid"
            if private.get("use", "sig") != "sig" or "sign" not in private.get("key_ops", ["sign"]):
                continue
            expected = number in GOOD_YET_CALLED_INVALID or (is_valid and number not in BAD_YET_CALLED_VALID)
            assert expected == accepts(key, vector["jws"]), vector
            seen[vector["result"]] += 1
    assert seen["valid"] > 1
    assert seen["invalid"] > 20


@pytest.mark.anyio
async def test_through_the_dependency_every_vector_is_an_invalid_token_and_nothing_else() -> None:
    for group in groups():
        keys = [group["public"]] if "public" in group else []
        try:
            server = ResourceServer(issuer="https://auth.example", audience="orders", jwks={"keys": keys})
        except ConfigurationError:
            continue
        for vector in group["tests"]:
            with pytest.raises((InvalidToken, IssuerUnavailable)) as refused:
                await server.verify(vector["jws"])
            assert refused.type is InvalidToken
