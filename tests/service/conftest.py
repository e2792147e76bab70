"""A token service in this process, on a real PostgreSQL, spoken to over HTTP.

The server is the one at AUTHMINT_TEST_DATABASE_URL, or an embedded one that all workers share. Each worker makes databases of
its own there, with random names, and drops those and no other. It migrates one, the template, and copies it for the rest.

`service` is one application for all tests of a worker. Its clock stands still, and no test may stop it or change its parts. A
test that does is marked `own_service`; a test that needs other settings asks for `start_service`. Tests use random names.
"""

import base64
import os
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI

from authmint_service.accounts import Account, AccountStore, prepare_username
from authmint_service.app import create_app
from authmint_service.change_feed import ChangeKind, change_transaction, repeat_if_undone
from authmint_service.clients import Client, ClientStore, new_client_secret, secret_hash
from authmint_service.database import Database
from authmint_service.embedded_postgres import embedded_postgres
from authmint_service.logs import configure_logging
from authmint_service.migrations import migrate
from authmint_service.passwords import PasswordHasher
from authmint_service.settings import Settings, load_settings
from authmint_service.signing_keys import RotationPolicy, SigningKeyStore
from tests.actors import OPERATOR

ISSUER = "https://auth.example"
PASSWORD = "seven green parrots in a boat"
SECRET_KEYS = {
    name: f"1:{base64.b64encode(secrets.token_bytes(32)).decode()}" for name in ("key_encryption_keys", "refresh_token_keys")
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what reaches the database: these tests run again on another PostgreSQL."""
    for item in items:
        if {"service", "server_dsn"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("database")


START = time.time() // 3600 * 3600 + 0.25
"""When each clock begins: a full hour, and not long ago, as the database gives changes their numbers by its own clock."""


class Clock:
    """Seconds since the epoch; a test sets them."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    async def ask(self) -> float:
        """The database's clock, which agrees."""
        return self.now


class StoppedClock(Clock):
    """The clock of the application that many tests share."""

    def __setattr__(self, name: str, value: float) -> None:
        assert not hasattr(self, name), "Other tests share this clock. Mark a test that moves it `own_service`."
        super().__setattr__(name, value)


@pytest.fixture(scope="session")
async def server_dsn(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    if given := os.environ.get("AUTHMINT_TEST_DATABASE_URL"):
        async with template_on(given):
            yield given
        return
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    async with embedded_postgres(shared / "postgres-of-all-workers") as dsn, template_on(dsn):
        yield dsn


def dsn_of(server: str, database: str) -> str:
    """The address of another database on the same server."""
    return urlunsplit(urlsplit(server)._replace(path=f"/{database}"))


_templates: dict[str, str] = {}
"""The name of the migrated database on each server."""


@asynccontextmanager
async def template_on(server: str) -> AsyncIterator[None]:
    """A migrated database for `migrated_database` to copy: a copy takes a tenth of a migration's time."""
    async with own_database(server) as dsn:
        await migrate(dsn)
        _templates[server] = urlsplit(dsn).path[1:]
        yield


def migrated_database(server: str) -> AbstractAsyncContextManager[str]:
    """A new database with the schema and no rows, dropped at the end."""
    return own_database(server, f"TEMPLATE {_templates[server]}")


@asynccontextmanager
async def own_database(server: str, options: str = "") -> AsyncIterator[str]:
    """A new empty database, dropped at the end."""
    name = f"authmint_test_{secrets.token_hex(8)}"
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(f"CREATE DATABASE {name} {options}")
        try:
            yield dsn_of(server, name)
        finally:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@pytest.fixture(scope="session")
async def dsn(server_dsn: str) -> AsyncIterator[str]:
    async with migrated_database(server_dsn) as own:
        await make_first_key(own)
        yield own


@pytest.fixture
async def empty_database(server_dsn: str) -> AsyncIterator[Database]:
    """The schema without rows, for a test that adds tables, or deletes what it has not made."""
    async with migrated_database(server_dsn) as own, (database := Database(size=4)).open(own):
        yield database


async def make_first_key(dsn: str) -> None:
    """A key that signs, for clocks that begin when `Clock` does or later."""
    settings, database = make_settings(dsn), Database(size=1)
    async with database.open(dsn):
        policy = RotationPolicy(
            algorithms=("ES256",), period=settings.signing_key_rotation_seconds, token_lifetime=300, rsa_bits=2048
        )
        await SigningKeyStore(database, settings.encryption_keys).rotate_if_due(policy, Clock().now - 1000, actor=OPERATOR)


@pytest.fixture(scope="session")
async def password_hash() -> str:
    """PASSWORD, hashed once for all."""
    hasher = PasswordHasher(workers=1, queue=1)
    try:
        return await hasher.hash(PASSWORD)
    finally:
        hasher.close()


def make_settings(dsn: str, **changes: object) -> Settings:
    known: dict[str, object] = {"issuer": ISSUER, "database_url": dsn, "log_level": "DEBUG", "docs": True, **SECRET_KEYS}
    return load_settings(_env_file=None, **(known | changes))


@repeat_if_undone
async def record_change(database: Database, kind: ChangeKind, *names: str, takes: bool = True) -> None:
    """Make a change. On a busy computer its transaction may take too long, and is undone."""
    async with change_transaction(database) as change:
        await change.record(kind, *names, takes=takes)


class Service:
    """A running service, and short ways to the usual requests."""

    def __init__(
        self,
        app: FastAPI,
        http: httpx2.AsyncClient,
        database: Database,
        clock: Clock,
        password_hash: str,
        stop: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """`stop` ends it before its test ends."""
        self.app, self.http, self.database, self.clock = app, http, database, clock
        self._password_hash, self._stop = password_hash, stop

    async def internal(self, path: str) -> httpx2.Response:
        """Ask the internal listener."""
        async with open_http(self.app.state.internal) as http:
            return await http.get(path)

    async def stop(self) -> None:
        assert self._stop
        await self._stop()

    async def add_account(self, username: str = "", **changes: object) -> Account:
        known: dict[str, object] = {
            "id": str(uuid.uuid4()),
            "username": prepare_username(username or f"person-{secrets.token_hex(6)}"),
            "password_hash": self._password_hash,
        }
        account = Account(**(known | changes))  # type: ignore[arg-type]  # the keywords are those of Account
        await AccountStore(self.database).add(account, self.clock(), actor=OPERATOR)
        return account

    async def add_client(self, secret: str | None = None, **changes: object) -> Client:
        confidential = secret is not None
        known: dict[str, object] = {
            "client_id": f"client-{secrets.token_hex(6)}",
            "name": "A client",
            "confidential": confidential,
            "grants": frozenset({"client_credentials"} if confidential else {"password", "refresh_token"}),
            "scopes": frozenset({"orders:read", "orders:write"}),
            "resources": ("orders", ISSUER),
            "default_resources": (ISSUER,),
            "secret_hashes": (secret_hash(secret),) if secret is not None else (),
        }
        client = Client(**(known | changes))  # type: ignore[arg-type]  # the keywords are those of Client
        await ClientStore(self.database).add(client, self.clock(), actor=OPERATOR)
        return client

    @repeat_if_undone
    async def change(self, kind: ChangeKind, name: str, statement: str, *values: object) -> None:
        """Run a statement as a change of `name`, and wait until the service knows of it."""
        async with change_transaction(self.database) as change:
            await change.connection.execute(statement, *values)
            await change.record(kind, name, takes=True)
        await self.read_changes()

    async def read_changes(self) -> None:
        """Wait until the service knows of all changes that were made before."""
        # The first reading may have begun before them.
        for _ in range(2):
            await self.app.state.change_feed.read()

    async def read_revocations(self) -> None:
        """Publish all that was revoked or taken away before, also what is too new to be listed."""
        await self.database.execute("UPDATE authmint.changes SET recorded_at = recorded_at - interval '2 seconds'")
        await self.app.state.revocation_list.read()

    async def token(self, **form: str) -> httpx2.Response:
        return await self.http.post("/token", data=form)

    async def sign_in(self, client: Client, user: Account, password: str = PASSWORD, **more: str) -> httpx2.Response:
        return await self.token(
            grant_type="password", client_id=client.client_id, username=user.username, password=password, **more
        )

    async def refresh(self, client: Client, refresh_token: str, **more: str) -> httpx2.Response:
        return await self.token(grant_type="refresh_token", client_id=client.client_id, refresh_token=refresh_token, **more)

    async def refresh_elsewhere(self, client: Client, refresh_token: str) -> httpx2.Response:
        """Redeem a refresh token as someone else does who has a copy of it: with another user agent."""
        form = {"grant_type": "refresh_token", "client_id": client.client_id, "refresh_token": refresh_token}
        return await self.http.post("/token", data=form, headers={"User-Agent": "elsewhere"})


StartService = Callable[..., Awaitable[Service]]


@pytest.fixture
async def start_service(dsn: str, password_hash: str) -> AsyncIterator[StartService]:
    """Starts services with other settings, on this worker's database or on another."""
    async with AsyncExitStack() as stack:

        async def start(*, at: str = dsn, clock: Clock | None = None, **changes: object) -> Service:
            clock = clock or Clock()
            app = create_app(make_settings(at, **changes), clock=clock, database_time=clock.ask)
            running = await stack.enter_async_context(AsyncExitStack())
            await running.enter_async_context(app.router.lifespan_context(app))
            http = await stack.enter_async_context(open_http(app))
            database = Database(size=4)
            await stack.enter_async_context(database.open(at))
            return Service(app, http, database, clock, password_hash, running.aclose)

        yield start


@pytest.fixture(scope="session")
async def shared_service(dsn: str, password_hash: str) -> AsyncIterator[Service]:
    """The application, once for each worker: to make one takes a tenth of a second of CPU."""
    clock = StoppedClock()
    app = create_app(make_settings(dsn), clock=clock, database_time=clock.ask)
    async with app.router.lifespan_context(app), open_http(app) as http, (database := Database(size=4)).open(dsn):
        yield Service(app, http, database, clock, password_hash)


@pytest.fixture
async def client_of_shared_service(shared_service: Service, dsn: str) -> AsyncIterator[Service]:
    """The shared service, with an HTTP client of the test's own: no cookie goes from one test to another."""
    settings, shared = make_settings(dsn), shared_service
    # The test before may have made an application with other settings, and logging belongs to the process.
    configure_logging(settings.log_level, settings.log_format)
    async with open_http(shared.app) as http:
        yield Service(shared.app, http, shared.database, shared.clock, shared._password_hash)


@pytest.fixture
async def own_service(start_service: StartService) -> Service:
    return await start_service()


@pytest.fixture
def service(request: pytest.FixtureRequest) -> Service:
    """The shared service, or, for a test that is marked `own_service`, one of its own."""
    is_own = request.node.get_closest_marker("own_service") is not None
    chosen: Service = request.getfixturevalue("own_service" if is_own else "client_of_shared_service")
    return chosen


def open_http(app: FastAPI) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app, raise_app_exceptions=False), base_url=ISSUER)


@pytest.fixture(scope="session", autouse=True)
def metrics_without_a_cache() -> Iterator[None]:
    """A test sees in the metrics what it did a moment ago."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("authmint_service.endpoints.metrics.CACHE_SECONDS", 0.0)
        yield


@pytest.fixture
def secret() -> str:
    return new_client_secret()


@pytest.fixture
def polls_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Services read changes and look at the keys at once, and not within half a second."""
    monkeypatch.setattr("authmint_service.change_feed.POLL_SECONDS", 0.02)
    monkeypatch.setattr("authmint_service.tasks.RETRY_SECONDS", 0.02)
