"""A server process with its own database, and in it a person, two clients, and tokens of theirs."""

import base64
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.secret_keys import SecretKeys
from service.sessions import RefreshTokenSealer
from tests.doors.conftest import fetch, running
from tests.doors.test_commands import COMMAND, PASSWORD, Commands
from tests.service.fuzzing import Known

USERNAME = "eve"


@dataclass(frozen=True)
class Furnished:
    """Where it listens, and what is known there."""

    site: str
    port: int
    known: Known


def sign_in_to(site: str) -> dict[str, str]:
    """The tokens of a new session of the person, through the client `spa`."""
    form = {"grant_type": "password", "client_id": "spa", "username": USERNAME, "password": PASSWORD}
    status, body, _ = fetch(f"{site}/token", data=form)
    assert 200 == status, body
    tokens: dict[str, str] = json.loads(body)
    return tokens


@contextmanager
def furnished(folder: Path) -> Iterator[Furnished]:
    """Fails at the end if the server has said that anything was unexpected."""
    commands, keys = Commands(folder), f"1:{base64.b64encode(secrets.token_bytes(32)).decode()}"
    site = f"http://127.0.0.1:{commands.port}"
    env = commands.env | {"MINTMARK_LOG_LEVEL": "WARNING", "MINTMARK_REFRESH_TOKEN_KEYS": keys}
    with running(COMMAND, "serve", cwd=folder, env=env, output=folder / "said") as process:
        process.wait_for(f"{site}/readyz")
        robot = ("clients", "add", "robot", "--confidential", "--scope", "sessions:admin", "--audience", site, "--json")
        spa = ("clients", "add", "spa", "--public", "--audience", site, "--json")
        person = ("users", "add", USERNAME, "--password-stdin")
        done = [commands.run(*arguments, stdin=f"{PASSWORD}\n") for arguments in (robot, spa, person)]
        assert [0, 0, 0] == [one.returncode for one in done], done
        secret = json.loads(done[0].stdout)["client_secret"]
        tokens = sign_in_to(site)
        assert 200 == fetch(f"{site}/revoke", data={"client_id": "spa", "token": tokens["refresh_token"]})[0]
        sealer = RefreshTokenSealer(SecretKeys.parse(keys, "keys"), current_id=1)
        known = Known("spa", "robot", secret, tokens["refresh_token"], tokens["access_token"], sealer)
        yield Furnished(site, commands.port, known)
        assert 200 == fetch(f"{site}/readyz")[0]
        assert "unexpected error" not in process.said
        assert "Traceback" not in process.said
