"""The account and the clients of a development service, and the file with their random secrets."""

import os
import secrets
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from authmint_service.accounts import Account, AccountStore
from authmint_service.clients import Client, ClientStore, new_client_secret, secret_hash
from authmint_service.commands.operator import operator
from authmint_service.database import Database
from authmint_service.errors import AlreadyExists, SettingsError
from authmint_service.passwords import PasswordHasher, PasswordPolicy

FILE = "demo.env"
DEMO_MIN_LENGTH = 15
SCOPES = frozenset({"orders:read", "orders:write"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What the account and the clients sign in with. The variables of the file are `DEMO_` and the names in capitals."""

    username: str
    password: str
    spa_client_id: str
    """A public client, for scripts and for /docs: its refresh tokens are in the response."""
    service_client_id: str
    service_client_secret: str

    def __repr__(self) -> str:
        return "Credentials()"


def page_client_id(port: int) -> str:
    """Return the id of the page's client. It is bound to the page's origin, so on another port it is another client."""
    return f"demo-page-{port}"


class FirstRun:
    """Adds what is missing, and nothing twice."""

    def __init__(self, data_dir: Path, issuer: str, page_port: int | None, page_origin: str) -> None:
        """`page_port`, `page_origin`: of the example page, None and "" if there is none."""
        self._file, self._draft = data_dir / FILE, data_dir / f"{FILE}.new"
        self._issuer, self._page_port, self._page_origin = issuer, page_port, page_origin

    @property
    def file(self) -> Path:
        """The file with the credentials, for the owner alone."""
        return self._file

    async def add_missing(self, database: Database, echo: Callable[[str], None]) -> Credentials:
        """Add the account and the clients, and return their credentials.

        Raise SettingsError if the file is damaged, or the database has those of another folder, and InvalidValue if the
        password in the file is weak.
        """
        is_new = not self._file.exists()
        if is_new:
            echo("Creating one account and three clients …")
            # Written before they are used: after a crash the next start goes on with the same ones.
            credentials = _read(self._draft) if self._draft.exists() else self._write_draft()
        else:
            credentials = _read(self._file)
        # Each time: AUTHMINT_DATABASE_URL may name another database than at the last start.
        if await AccountStore(database).find_by_name(credentials.username) is None:
            await self._add_account(database, credentials)
        for client in (self._spa_client(credentials), self._service_client(credentials)):
            await self._add_client(database, client)
        await self._check_secret(database, credentials)
        await self._add_page_client(database)
        if is_new:
            self._draft.rename(self._file)
        return credentials

    async def _check_secret(self, database: Database, credentials: Credentials) -> None:
        found = (await ClientStore(database).load(credentials.service_client_id)).client
        if found is None or found.find_secret([credentials.service_client_secret]) is None:
            raise SettingsError(
                f"The database has the client {credentials.service_client_id} of another data folder. Start with that folder, "
                "or with another database."
            )

    def _write_draft(self) -> Credentials:
        credentials = Credentials(
            username="demo", password=secrets.token_urlsafe(18), spa_client_id="demo-spa", service_client_id="demo-service",
            service_client_secret=new_client_secret(),
        )  # fmt: skip
        unfinished = self._draft.with_suffix(".tmp")
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.writelines(f"DEMO_{name.upper()}={getattr(credentials, name)}\n" for name in Credentials.__dataclass_fields__)
        unfinished.rename(self._draft)
        return credentials

    async def _add_account(self, database: Database, credentials: Credentials) -> None:
        # The file can be edited, and the service be reached by others than its developer.
        policy, hasher = PasswordPolicy(min_length=DEMO_MIN_LENGTH), PasswordHasher(workers=1, queue=1)
        try:
            password = await policy.check(credentials.password, username=credentials.username)
            password_hash = await hasher.hash(password)
        finally:
            hasher.close()
        account = Account(id=str(uuid.uuid4()), username=credentials.username, password_hash=password_hash)
        with suppress(AlreadyExists):
            await AccountStore(database).add(account, time.time(), actor=operator())

    async def _add_client(self, database: Database, client: Client) -> None:
        with suppress(AlreadyExists):
            await ClientStore(database).add(client, time.time(), actor=operator())

    def _spa_client(self, credentials: Credentials) -> Client:
        return Client(
            client_id=credentials.spa_client_id, name="Demo SPA", confidential=False,
            grants=frozenset({"password", "refresh_token"}), scopes=SCOPES, resources=self._resources,
            default_resources=("orders",),
        )  # fmt: skip

    def _service_client(self, credentials: Credentials) -> Client:
        return Client(
            client_id=credentials.service_client_id, name="Demo service", confidential=True,
            grants=frozenset({"client_credentials"}), scopes=SCOPES, resources=self._resources,
            default_resources=("orders",), secret_hashes=(secret_hash(credentials.service_client_secret),),
        )  # fmt: skip

    async def _add_page_client(self, database: Database) -> None:
        if self._page_port is None:
            return
        client = Client(
            client_id=page_client_id(self._page_port), name="Demo page", confidential=False,
            grants=frozenset({"password", "refresh_token"}), scopes=SCOPES, resources=self._resources,
            default_resources=("orders",), refresh_cookie=True, origins=(self._page_origin,),
        )  # fmt: skip
        await self._add_client(database, client)

    @property
    def _resources(self) -> tuple[str, ...]:
        return "orders", self._issuer


def _read(file: Path) -> Credentials:
    """Return the credentials in a file. It may have more variables than these."""
    known = dict(line.split("=", 1) for line in file.read_text(encoding="utf-8").splitlines() if "=" in line)
    try:
        return Credentials(**{name: known[f"DEMO_{name.upper()}"] for name in Credentials.__dataclass_fields__})
    except KeyError as error:
        raise SettingsError(f"{file} lacks {error.args[0]}. Remove the folder to start anew: {file.parent}") from None
