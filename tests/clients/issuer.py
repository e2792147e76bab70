"""The one service that all programs of this folder speak to, and what their steps must have brought."""

import base64
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from tests.clients.page import HERE
from tests.e2e.conftest import environment, fetch

URL = "https://api.example.com/orders"
CLIENT_ID = "shop"
GRANTS = ("password", "refresh_token", "client_credentials")
RESOURCES = ("orders", URL, "billing")


class Issuer:
    """The service, its one account and one client, and tokens of both."""

    def __init__(self, url: str, account: Mapping[str, str], client_secret: str) -> None:
        self.url, self.account, self.client_secret = url, account, client_secret
        self._keys = jwt.PyJWKClient(f"{url}/.well-known/jwks.json")
        tokens = self._tokens_for("orders", other="billing")
        self.account_id, self.service_id = (self.claims(tokens[name])["sub"] for name in ("person", "service"))
        self._given = {
            "issuer": url, "client_id": CLIENT_ID, "client_secret": client_secret, **account, "tokens": tokens,
            "tokens_for_url": self._tokens_for(URL, other="orders"),
        }  # fmt: skip

    def post(self, path: str, **form: str) -> tuple[int, Any]:
        """Send a form as the client."""
        data = {"client_id": CLIENT_ID, "client_secret": self.client_secret, **form}
        status, body, _ = fetch(self.url + path, data=data)
        return status, json.loads(body)

    def run(self, program: str) -> "subprocess.CompletedProcess[str]":
        """Run a program, with the service's address and the client's credentials on standard input."""
        python = str(HERE / ".venv/bin/python")
        given = {**self._given, "refresh_token": self._sign_in("orders")["refresh_token"]}
        return subprocess.run(
            ["node" if program.endswith(".mjs") else python, program], input=json.dumps(given), cwd=HERE,
            env=environment(NO_PROXY="127.0.0.1"), capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip

    def claims(self, token: str) -> dict[str, Any]:
        """Return what the service has signed. Raise jwt.InvalidTokenError if it did not."""
        key = self._keys.get_signing_key_from_jwt(token)
        found: dict[str, Any] = jwt.decode(token, key, algorithms=["ES256"], issuer=self.url, options={"verify_aud": False})
        return found

    def _sign_in(self, resource: str) -> dict[str, str]:
        return self._token(grant_type="password", resource=resource, **self.account)

    def _token(self, **form: str) -> dict[str, str]:
        status, tokens = self.post("/token", **form)
        assert 200 == status, tokens
        found: dict[str, str] = tokens
        return found

    def _tokens_for(self, audience: str, other: str) -> dict[str, str]:
        """Return good tokens for an audience, and one of each kind that nobody may accept."""
        person = self._sign_in(audience)["access_token"]
        revoked = self._sign_in(audience)
        self.post("/revoke", token=revoked["refresh_token"])
        head, body, signature = person.split(".")
        return {
            "person": person,
            "service": self._token(grant_type="client_credentials", resource=audience)["access_token"],
            "revoked": revoked["access_token"],
            "changed": f"{head}.{body}.{signature[::-1]}",
            "unsigned": f"{_encoded({**jwt.get_unverified_header(person), 'alg': 'none'})}.{body}.",
            "of_another_key": jwt.encode(
                self.claims(person), ec.generate_private_key(ec.SECP256R1()), "ES256", jwt.get_unverified_header(person)
            ),
            "of_another_audience": self._sign_in(other)["access_token"],
        }


def _encoded(header: Mapping[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()


def secret_with_every_symbol() -> str:
    """Return a secret as `openssl rand -base64 32` makes it, with all that a form encodes."""
    while not {"+", "/", "="} <= set(secret := base64.b64encode(secrets.token_bytes(32)).decode()):
        pass
    return secret


@contextmanager
def serving(folder: Path) -> Iterator[Issuer]:
    """A service of its own data folder, until the end of the block."""
    command = str(Path(sys.executable).with_name("authmint-service"))
    # The tokens of the first minute are good until the last program has run.
    env = environment(HOME=str(folder), AUTHMINT_ACCESS_TOKEN_TTL="3600")
    options = ("dev", "--ephemeral", "--port=0", "--json")
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen([command, *options], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=log) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, (folder / "log").read_text()
            document, secret = json.loads(line), secret_with_every_symbol()
            repeated = {"--grant": GRANTS, "--resource": RESOURCES}
            more = [f"{name}={value}" for name, values in repeated.items() for value in values]
            subprocess.run(
                [command, "clients", "add", CLIENT_ID, "--confidential", "--scope=orders:read", "--default-resource=orders",
                 "--secret-stdin", f"--data-dir={document['data_dir']}", *more],
                input=secret, cwd=folder, env=env, stdout=subprocess.DEVNULL, text=True, check=True, timeout=100,
            )  # fmt: skip
            yield Issuer(document["issuer"], document["account"], secret)
        finally:
            process.terminate()
            process.communicate(timeout=60)
