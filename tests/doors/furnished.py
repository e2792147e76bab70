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

    def token(self, **form: str) -> dict[str, str]:
        """The answer to a token request that must succeed."""
        status, body, _ = fetch(f"{self.site}/token", data=form)
        assert 200 == status, body
        tokens: dict[str, str] = json.loads(body)
        return tokens

    def sign_in(self) -> dict[str, str]:
        return self.token(grant_type="password", client_id="spa", username=USERNAME, password=PASSWORD)


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
        sealer = RefreshTokenSealer(SecretKeys.parse(keys, "keys"), current_id=1)
        found = Furnished(site, commands.port, Known("spa", "robot", secret, "", "", sealer))
        tokens = found.sign_in()
        assert 200 == fetch(f"{site}/revoke", data={"client_id": "spa", "token": tokens["refresh_token"]})[0]
        ended = Known("spa", "robot", secret, tokens["refresh_token"], tokens["access_token"], sealer)
        yield Furnished(site, commands.port, ended)
        assert 200 == fetch(f"{site}/readyz")[0]
        assert "unexpected error" not in process.said
        assert "Traceback" not in process.said
