"""Signing keys, as an operator sees them: commands, a start with the wrong secret, and many processes at once."""

import asyncio
import base64
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from authmint.jose import SigningKey, decode_base64url
from authmint_service.migrations import migrate
from tests.e2e.conftest import Running, fetch, free_ports, running
from tests.e2e.test_commands import COMMAND, Commands
from tests.e2e.test_embedded_postgres import dsn_of, hold, release
from tests.faults.fork_server import Program, forked
from tests.service.conftest import dsn_of as database_on

pytestmark = [pytest.mark.process, pytest.mark.timeout(240), pytest.mark.xdist_group("keys")]

EXPLAIN = str(Path(sys.executable).with_name("authmint"))
PROCESSES = 8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Commands, str]]:
    """Return commands, and the DSN of the PostgreSQL that they use."""
    commands = Commands(tmp_path_factory.mktemp("keys"))
    holder = hold(commands.folder / "data")
    yield commands, dsn_of(holder)
    release(holder)


@pytest.fixture
def commands(server: tuple[Commands, str]) -> Commands:
    """Return commands on a database of the test's own, without keys."""
    shared, dsn = server
    mine = Commands(shared.folder)
    mine.env = shared.env | {"AUTHMINT_DATABASE_URL": new_database(dsn), "AUTHMINT_PORT": str(mine.port)}
    mine.env["AUTHMINT_ISSUER"] = f"http://127.0.0.1:{mine.port}"
    return mine


def migrated(commands: Commands) -> Commands:
    """Return the commands, whose database has the schema now."""
    asyncio.run(migrate(commands.env["AUTHMINT_DATABASE_URL"]))
    return commands


def new_database(dsn: str) -> str:
    name = f"keys_{secrets.token_hex(6)}"

    async def make() -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()

    asyncio.run(make())
    return database_on(dsn, name)


def listed(commands: Commands) -> list[dict[str, Any]]:
    done = commands.run("keys", "list", "--json")
    assert 0 == done.returncode, done.stderr
    keys: list[dict[str, Any]] = json.loads(done.stdout)
    return keys


def published(site: str) -> dict[str, dict[str, str]]:
    return {key["kid"]: key for key in json.loads(fetch(f"{site}/.well-known/jwks.json")[1])["keys"]}


def token(site: str, secret: str) -> str:
    form = {"grant_type": "client_credentials", "client_id": "robot", "client_secret": secret}
    status, body, _ = fetch(f"{site}/token", data=form)
    assert 200 == status, body
    return str(json.loads(body)["access_token"])


def add_service(commands: Commands) -> str:
    done = commands.run("clients", "add", "robot", "--confidential", "--json")
    assert 0 == done.returncode, done.stderr
    return str(json.loads(done.stdout)["client_secret"])


def wait_for_keys(site: str, kids: set[str]) -> None:
    deadline = time.monotonic() + 20
    while published(site).keys() != kids:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def wait_until_listed(site: str, kid: str) -> None:
    ends_at = time.monotonic() + 20
    while True:
        members = json.loads(decode_base64url(fetch(f"{site}/revocation-list")[1].split(".")[1]))
        if kid in members.get("keys", []):
            return
        assert time.monotonic() < ends_at, members
        time.sleep(0.1)


def explained(site: str, text: str) -> dict[str, str]:
    command = [EXPLAIN, "explain", "-", "--issuer", site, "--json"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=False)
    return {check["name"]: check["message"] for check in json.loads(done.stdout)["checks"]}


@pytest.mark.slow
def test_keys_are_rotated_revoked_and_replaced_by_commands_while_a_service_follows(commands: Commands, tmp_path: Path) -> None:
    site = commands.env["AUTHMINT_ISSUER"]
    with running(COMMAND, "serve", cwd=commands.folder, env=commands.env, output=tmp_path / "said") as service:
        service.wait_for(f"{site}/readyz")
        secret = add_service(commands)
        (first,) = listed(commands)
        assert ("active", "ES256", 1) == (first["state"], first["alg"], first["encryption_key_id"])
        old = token(site, secret)
        assert "which" not in explained(site, old)["signature"]
        assert 0 == commands.run("keys", "rotate").returncode
        again = commands.run("keys", "rotate")
        assert (2, True) == (again.returncode, "announced already" in again.stderr)
        announced = listed(commands)[0]
        assert "next" == announced["state"]
        wait_for_keys(site, {first["kid"], announced["kid"]})
        exported = commands.run("keys", "export-public")
        assert published(site) == {key["kid"]: key for key in json.loads(exported.stdout)["keys"]}
        refused = commands.run("keys", "revoke", first["kid"])
        assert (2, True) == (refused.returncode, "--emergency" in refused.stderr)
        # An id may begin with a hyphen.
        unknown = commands.run("keys", "revoke", f"-W{first['kid'][2:]}")
        assert (2, False) == (unknown.returncode, "No such option" in unknown.stderr)
        assert 0 == commands.run("keys", "revoke", announced["kid"]).returncode
        wait_for_keys(site, {first["kid"]})
        replaced = commands.run("keys", "rotate", "--emergency")
        assert 0 == replaced.returncode, replaced.stderr
        assert f"Revoked {first['kid']}." in replaced.stdout
        third = listed(commands)[0]
        assert ["active", "revoked", "revoked"] == [key["state"] for key in listed(commands)]
        wait_for_keys(site, {third["kid"]})
        # The revocation list names the key, for services that still trust it.
        wait_until_listed(site, first["kid"])
        message = explained(site, old)["signature"]
        assert message.startswith(f"The issuer's key {first['kid']} was revoked on 20")
        assert third["kid"] in explained(site, token(site, secret))["signature"]
        assert third["kid"] in commands.run("keys", "list").stdout
        history = json.loads(fetch(f"{site}/key-history")[1])["keys"]
        assert [3, {"kid", "alg", "published_at", "active_from", "revoked_at"}] == [
            len(history), set().union(*history) - {"retired_at", "withdrawn_at"},
        ]  # fmt: skip


def test_a_key_of_ones_own_is_imported_from_pem_and_from_a_jwk(commands: Commands, tmp_path: Path) -> None:
    pem, jwk = SigningKey.generate(), SigningKey.generate()
    file = tmp_path / "key.pem"
    file.write_bytes(pem.to_pem())
    done = migrated(commands).run("keys", "import", str(file))
    assert 0 == done.returncode, done.stderr
    # The first of all signs at once; the next is announced.
    assert [(pem.kid, "active")] == [(key["kid"], key["state"]) for key in listed(commands)]
    assert 3 == commands.run("keys", "import", str(file)).returncode
    assert 0 == commands.run("keys", "import", "-", stdin=json.dumps(private_jwk(jwk))).returncode
    assert [jwk.kid, pem.kid] == [key["kid"] for key in listed(commands)]


def test_each_line_has_its_own_next_key_and_no_other_algorithm_has_any(commands: Commands, tmp_path: Path) -> None:
    lines = {"AUTHMINT_ID_TOKEN_ALGORITHMS": "ES384"}
    file = tmp_path / "key.pem"
    file.write_bytes(SigningKey.generate("ES384").to_pem())
    assert 0 == migrated(commands).run("keys", "rotate", **lines).returncode
    assert 0 == commands.run("keys", "import", str(file), **lines).returncode
    again = commands.run("keys", "rotate", "--algorithm", "ES384", **lines)
    assert (2, True) == (again.returncode, "announced already" in again.stderr)
    assert {"ES256": "active", "ES384": "next"} == {key["alg"]: key["state"] for key in listed(commands)}
    for arguments, words in (
        (("rotate", "--algorithm", "RS256"), "no keys for RS256"), (("import", str(file)), "is for ES384"),
        (("rotate", "--emergency", "--algorithm", "ES256"), "Leave out --algorithm"),
    ):  # fmt: skip
        refused = commands.run("keys", *arguments)
        assert (2, True) == (refused.returncode, words in refused.stderr), refused.stderr
    replaced = commands.run("keys", "rotate", "--emergency", **lines)
    assert 0 == replaced.returncode, replaced.stderr
    assert ["ES256 active", "ES256 revoked", "ES384 active", "ES384 revoked"] == sorted(
        f"{key['alg']} {key['state']}" for key in listed(commands)
    )


def private_jwk(key: SigningKey) -> dict[str, str]:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    private = load_pem_private_key(key.to_pem(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    d = base64.urlsafe_b64encode(private.private_numbers().private_value.to_bytes(32, "big")).decode().rstrip("=")
    return key.public_jwk() | {"d": d}


def test_the_encryption_key_is_rotated_by_naming_two_and_dropping_the_old_one(commands: Commands) -> None:
    old, new = (f"{number}:{base64.b64encode(secrets.token_bytes(32)).decode()}" for number in (1, 2))
    assert 0 == migrated(commands).run("keys", "rotate", AUTHMINT_KEY_ENCRYPTION_KEYS=old).returncode
    done = commands.run("keys", "reencrypt", AUTHMINT_KEY_ENCRYPTION_KEYS=f"{new},{old}")
    assert (0, "Encrypted 1 key with the encryption key 2.\n") == (done.returncode, done.stdout)
    shown = commands.run("keys", "list", "--json", AUTHMINT_KEY_ENCRYPTION_KEYS=new)
    assert [("active", 2)] == [(key["state"], key["encryption_key_id"]) for key in json.loads(shown.stdout)]
    assert 2 == commands.run("keys", "reencrypt", AUTHMINT_KEY_ENCRYPTION_KEYS=f"3:{old[2:]}").returncode


@pytest.mark.slow
def test_a_service_without_the_right_encryption_key_does_not_start_and_names_the_one_it_needs(commands: Commands) -> None:
    right, wrong = (f"1:{base64.b64encode(secrets.token_bytes(32)).decode()}" for _ in range(2))
    assert 0 == migrated(commands).run("keys", "rotate", AUTHMINT_KEY_ENCRYPTION_KEYS=right).returncode
    for given, words in (
        (wrong, "encryption key 1 of AUTHMINT_KEY_ENCRYPTION_KEYS"),
        (f"2:{wrong[2:]}", "needs the encryption key 1"),
    ):
        done = commands.run("serve", AUTHMINT_KEY_ENCRYPTION_KEYS=given)
        assert (2, 1) == (done.returncode, len(done.stderr.splitlines()))
        assert words in done.stderr


def test_with_a_shared_secret_the_key_commands_are_refused(commands: Commands) -> None:
    shared = {"AUTHMINT_SIGNING_ALGORITHM": "HS256", "AUTHMINT_SHARED_SECRET": secrets.token_urlsafe(32)}
    done = commands.run("keys", "list", **shared)
    assert (2, True) == (done.returncode, "HS256" in done.stderr)
    assert shared["AUTHMINT_SHARED_SECRET"] not in done.stderr


SERVE = Program("authmint_service.cli", ("serve",))


def start_together(stack: ExitStack, commands: Commands, folder: Path) -> list[str]:
    """Start `PROCESSES` servers on one empty database, and return their URLs."""
    ports = free_ports(PROCESSES)
    sites = [f"http://127.0.0.1:{port}" for port in ports]
    known = commands.env | {"AUTHMINT_ISSUER": sites[0], "AUTHMINT_LOG_LEVEL": "WARNING", "AUTHMINT_DATABASE_POOL_SIZE": "2"}
    started: list[Running] = []
    # Two lines of keys: one for access tokens, one for ID tokens.
    known["AUTHMINT_ID_TOKEN_ALGORITHMS"] = "ES384"
    for port in ports:
        env = known | {"AUTHMINT_PORT": str(port)}
        started.append(stack.enter_context(forked(SERVE, cwd=commands.folder, env=env, output=folder / str(port))))
    for one, site in zip(started, sites, strict=True):
        one.wait_for(f"{site}/readyz", 90)
    commands.env["AUTHMINT_ISSUER"] = sites[0]
    return sites


def agree(commands: Commands, folder: Path) -> int:
    """Check that servers have one key for each line, and that each accepts the tokens of all. Return how many were verified."""
    with ExitStack() as stack, ThreadPoolExecutor(PROCESSES) as pool:
        sites = start_together(stack, commands, folder)
        secret = add_service(commands)
        kids = list(pool.map(lambda site: tuple(published(site)), sites))
        assert (1, 2) == (len(set(kids)), len(kids[0]))
        assert [("ES256", "active"), ("ES384", "active")] == sorted((key["alg"], key["state"]) for key in listed(commands))
        tokens = list(pool.map(lambda site: token(site, secret), sites))

        def is_active(pair: tuple[str, str]) -> bool:
            form = {"token": pair[1], "client_id": "robot", "client_secret": secret}
            return bool(json.loads(fetch(f"{pair[0]}/introspect", data=form)[1])["active"])

        pairs = [(site, one) for site in sites for one in tokens]
        assert all(pool.map(is_active, pairs))
    return len(pairs)


def test_eight_processes_on_an_empty_store_have_one_key_and_accept_each_others_tokens(
    commands: Commands, tmp_path: Path
) -> None:
    verified = agree(commands, tmp_path)
    sys.stdout.write(json.dumps({"processes": PROCESSES, "times": 1, "keys_of_each_line": 1, "verified": verified}) + "\n")


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_eight_processes_on_an_empty_store_have_one_key_fifty_times_over(server: tuple[Commands, str], tmp_path: Path) -> None:
    verified = 0
    for _ in range(50):
        mine = Commands(server[0].folder)
        mine.env = server[0].env | {"AUTHMINT_DATABASE_URL": new_database(server[1])}
        verified += agree(mine, tmp_path)
    sys.stdout.write(json.dumps({"processes": PROCESSES, "times": 50, "keys_of_each_line": 1, "verified": verified}) + "\n")
