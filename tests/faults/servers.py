"""Server processes on one database, each of which may be killed at any time, and sessions that exist already."""

import base64
import secrets
import signal
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg

from authmint_service.accounts import Account, AccountState, AccountStore
from authmint_service.database import Database
from authmint_service.errors import AlreadyExists
from authmint_service.secret_keys import SecretKeys
from authmint_service.sessions import RefreshToken, RefreshTokenCodec
from tests.actors import OPERATOR
from tests.e2e.conftest import Running, environment, free_ports, running
from tests.faults.fork_server import Program, forked

COMMAND = str(Path(sys.executable).with_name("authmint-service"))
SERVE = (COMMAND, "serve")
"""A real process, which imports everything by itself."""
FORKED = Program("authmint_service.cli", ("serve",))
"""The same function in a child of the fork server."""
FORKED_WITH_SHIFTED_CLOCK = Program("tests.faults.shifted_clock")
AUDIENCES = ["orders", "https://auth.example"]
CLIENTS = {"spa": None, "hasty": 1, "strict": 0}
"""Grace periods by client id; None: as the service is set, 30 seconds."""


REFRESH_KEYS, ENCRYPTION_KEYS = (f"1:{base64.b64encode(secrets.token_bytes(32)).decode()}" for _ in range(2))


class Server:
    """One server process; another one replaces it on the same port after it was killed."""

    def __init__(self, port: int, folder: Path, env: Mapping[str, str], command: Sequence[str] | Program) -> None:
        self.port, self._folder, self._command = port, folder, command
        self._env = dict(env) | {"AUTHMINT_PORT": str(port)}
        self._output = folder / f"server-{port}"
        self._stack = ExitStack()

    def start(self) -> None:
        self.running: Running = self._stack.enter_context(self._process())

    def _process(self) -> AbstractContextManager[Running]:
        if isinstance(self._command, Program):
            return forked(self._command, cwd=self._folder, env=self._env, output=self._output)
        return running(*self._command, cwd=self._folder, env=self._env, output=self._output)

    def wait_until_ready(self) -> None:
        self.running.wait_for(f"http://127.0.0.1:{self.port}/readyz")

    def kill(self) -> None:
        """SIGKILL, to the process that this object has started."""
        self.running.process.send_signal(signal.SIGKILL)
        self.running.process.wait()

    def stop(self) -> None:
        self._stack.close()

    @property
    def said(self) -> str:
        return self._output.read_text(errors="replace")


class Site:
    """Servers, their database and the key of their refresh tokens."""

    def __init__(
        self, folder: Path, dsn: str, count: int, command: Sequence[str] | Program, settings: Mapping[str, str]
    ) -> None:
        env = environment(
            AUTHMINT_ENVIRONMENT="development", AUTHMINT_ISSUER="https://auth.example", AUTHMINT_DATABASE_URL=dsn,
            AUTHMINT_KEY_ENCRYPTION_KEYS=ENCRYPTION_KEYS, AUTHMINT_REFRESH_TOKEN_KEYS=REFRESH_KEYS,
            AUTHMINT_LOG_LEVEL="WARNING", AUTHMINT_DATA_DIR=str(folder / "none"),
        )  # fmt: skip
        self.env = env | dict(settings)
        self.codec = RefreshTokenCodec(SecretKeys.parse(REFRESH_KEYS, "key"))
        self.servers = [Server(port, folder, self.env, command) for port in free_ports(count)]

    @property
    def ports(self) -> list[int]:
        return [server.port for server in self.servers]


@contextmanager
def site(
    folder: Path, dsn: str, *, count: int = 2, command: Sequence[str] | Program = FORKED, **settings: str
) -> Iterator[Site]:
    """`count` servers that are ready; `settings`: their environment variables."""
    found = Site(folder, dsn, count, command, settings)
    try:
        for server in found.servers:
            server.start()
        for server in found.servers:
            server.wait_until_ready()
        yield found
    finally:
        for server in found.servers:
            server.stop()


async def add_clients(dsn: str) -> None:
    """The public clients of `CLIENTS`."""
    connection = await asyncpg.connect(dsn)
    try:
        for client_id, grace in CLIENTS.items():
            await connection.execute(
                """
                INSERT INTO authmint.clients (client_id, subject, name, confidential, grants, scopes, resources,
                                     default_resources, created_at, refresh_grace_seconds)
                VALUES ($1, $2, $1, false, '{password,refresh_token}', '{orders:read}', $3, $3, now(), $4)
                ON CONFLICT DO NOTHING
                """,
                client_id, uuid.uuid4(), AUDIENCES, grace,
            )  # fmt: skip
    finally:
        await connection.close()


async def add_account(dsn: str, username: str, password_hash: str, state: AccountState = AccountState.ACTIVE) -> None:
    """An account, unless it is there already."""
    account = Account(id=str(uuid.uuid4()), username=username, password_hash=password_hash, state=state)
    async with (database := Database(size=1)).open(dsn):
        with suppress(AlreadyExists):
            await AccountStore(database).add(account, time.time(), actor=OPERATOR)


async def add_accounts(connection: asyncpg.Connection, usernames: Mapping[uuid.UUID, str], password_hash: str) -> None:
    """Accounts by their ids, all with the same password."""
    now = datetime.now(UTC)
    for table, columns, records in (
        ("accounts", ["id", "created_at"], [(account, now) for account in usernames]),
        (
            "account_names",
            ["prepared", "account_id", "kind", "text", "is_primary"],
            [(name, account, "username", name, True) for account, name in usernames.items()],
        ),
        ("passwords", ["account_id", "hash", "changed_at"], [(account, password_hash, now) for account in usernames]),
    ):
        await connection.copy_records_to_table(table, schema_name="authmint", columns=columns, records=records)


async def sign_in(
    dsn: str, count: int, *, client_id: str = "spa", each_of: int = 1, password_hash: str = "-"
) -> list[tuple[RefreshToken, str, str]]:
    """Return new sessions as a sign-in makes them, but without a hash: first token, session id and account id of each.

    `each_of`: sessions of one account.
    """
    now = datetime.now(UTC)
    accounts = [uuid.uuid4() for _ in range(-(-count // each_of))]
    made = [(RefreshToken(1, secrets.token_bytes(20), 0), uuid.uuid4(), accounts[number // each_of]) for number in range(count)]
    connection = await asyncpg.connect(dsn)
    try:
        await add_accounts(connection, {account: f"person-{account}" for account in accounts}, password_hash)
        await connection.copy_records_to_table(
            "sessions", schema_name="authmint",
            columns=["handle", "id", "account_id", "client_id", "scopes", "audiences", "started_at", "rotated_at",
                     "idle_expires_at", "expires_at"],
            records=[
                (token.handle, sid, account, client_id, ["orders:read"], AUDIENCES, now, now, now + timedelta(days=14),
                 now + timedelta(days=90))
                for token, sid, account in made
            ],
        )  # fmt: skip
    finally:
        await connection.close()
    return [(token, str(sid), str(account)) for token, sid, account in made]


def generation_of(text: str) -> int:
    """Return the generation that a refresh token states: it is in plain text, below the MAC."""
    content = base64.urlsafe_b64decode(text.removeprefix("amrt_")[:-6] + "==")
    return int.from_bytes(content[21:25], "big")
