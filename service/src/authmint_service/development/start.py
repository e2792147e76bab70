"""What `authmint-service dev` does, from the sockets to the last line that it prints."""

import asyncio
import itertools
import os
import signal
import socket
import sys
from collections.abc import MutableMapping
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI

from authmint_service import migrations
from authmint_service.app import create_app
from authmint_service.database import Database, database_url
from authmint_service.development.announcement import Announcement
from authmint_service.development.ephemeral import SIGNALS, temporary_folder
from authmint_service.development.first_run import FILE, Credentials, FirstRun, page_client_id
from authmint_service.development.page import make_page_server, serving
from authmint_service.embedded_postgres import has_database
from authmint_service.errors import SettingsError
from authmint_service.logs import configure_logging
from authmint_service.serving import listed_for_commands, listen, run_until_stopped, serve_requests
from authmint_service.settings import Settings, load_development_settings

PAGE_PORT = 8003
READY_SECONDS = 60
OF_THE_ENVIRONMENT = ("database_url", "key_encryption_keys", "refresh_token_keys", "shared_secret")
"""The secrets that an ephemeral service does not take from the environment: everything it uses goes with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of the command."""

    data_dir: Path | None = None
    port: int | None = None
    page_port: int | None = None
    orders_url: str = ""
    """Of the orders example, for the page; "" if there is none."""
    ephemeral: bool = False
    as_json: bool = False


def run(options: Options) -> None:
    """Serve until Ctrl-C or SIGTERM. Raise SettingsError or EmbeddedPostgresError."""
    for number in SIGNALS:
        # In the background of a shell SIGINT is ignored, and SIGTERM would end the process without a clean-up.
        signal.signal(number, signal.default_int_handler)
    try:
        with ExitStack() as stack:
            data_dir = stack.enter_context(temporary_folder()) if options.ephemeral else options.data_dir
            settings, listener = _listen(options, data_dir)
            stack.enter_context(listener)
            configure_logging(settings.log_level, settings.log_format)
            page = _make_page(options, settings)
            stack.enter_context(page or nullcontext())
            development = Development(settings, page, ephemeral=options.ephemeral, as_json=options.as_json)
            run_until_stopped(development.serve(listener))
            if development.failure:
                raise SettingsError(development.failure)
    except KeyboardInterrupt:
        pass
    echo("Stopped." if options.ephemeral else "Stopped. The next start has the same account, clients and keys.")


def echo(message: str) -> None:
    """Print a line about the progress. Standard output is for the result alone."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


class Development:
    """One development service."""

    def __init__(self, settings: Settings, page: ThreadingHTTPServer | None, *, ephemeral: bool, as_json: bool) -> None:
        self._settings, self._page = settings, page
        self._ephemeral, self._as_json = ephemeral, as_json
        self._data_dir = settings.data_dir.absolute()
        self._is_new = settings.uses_embedded_database and not has_database(self._data_dir)
        # On the issuer's host, so that both are one site: otherwise a browser does not send the cookie.
        host = urlsplit(settings.issuer_url).hostname
        self._page_port = None if page is None else int(page.server_address[1])
        self._page_origin = "" if page is None else f"http://{host}:{self._page_port}"
        self._first_run = FirstRun(self._data_dir, settings.issuer_url, self._page_port, self._page_origin)
        self.failure = ""
        """Why the service stopped by itself."""

    async def serve(self, listener: socket.socket) -> None:
        """Serve until a signal. Print the result once the service is ready."""
        echo(f"{'Creating' if self._is_new else 'Starting'} the database in {self._data_dir} …")
        async with database_url(self._settings) as dsn:
            credentials = await self._prepare(dsn)
            echo("Starting the token service …")
            app = create_app(self._settings, dsn=dsn)
            page = nullcontext() if self._page is None else serving(self._page)
            with page, listed_for_commands(self._settings, ephemeral=self._ephemeral):
                announcing = asyncio.create_task(self._announce(app, credentials))
                try:
                    await serve_requests(app, listener, shutdown_seconds=self._settings.shutdown_seconds)
                finally:
                    echo("Stopping …")
                    announcing.cancel()
                    with suppress(asyncio.CancelledError):
                        await announcing

    async def _prepare(self, dsn: str) -> Credentials:
        """Migrate the database, and add the account and the clients."""
        database = Database(size=1, statement_cache=self._settings.statement_cache_size)
        async with database.open(dsn):
            if self._is_new:
                echo("Making the tables …")
            await migrations.migrate_if_behind(database, dsn)
            return await self._first_run.add_missing(database, echo)

    async def _announce(self, app: FastAPI, credentials: Credentials) -> None:
        """Print the result once the service is ready. If it does not get ready, stop it."""
        if not await _is_ready_in_time(app):
            self.failure = f"The token service was not ready within {READY_SECONDS} seconds; its log is above."
            os.kill(os.getpid(), signal.SIGTERM)
            return
        issuer = self._settings.issuer_url
        announcement = Announcement(
            issuer=issuer, docs=f"{issuer.rstrip('/')}/docs" if self._settings.serves_docs else None,
            page=self._page_origin or None,
            page_client_id="" if self._page_port is None else page_client_id(self._page_port), data_dir=self._data_dir,
            credentials_file=self._data_dir / FILE, credentials=credentials,
        )  # fmt: skip
        sys.stdout.write(f"{announcement.as_json() if self._as_json else announcement.as_text()}\n")
        sys.stdout.flush()


def _listen(options: Options, data_dir: Path | None) -> tuple[Settings, socket.socket]:
    """Return the settings and the socket of the token service. Raise SettingsError."""
    chosen: dict[str, object] = {"environment": "development", "workers": 1, "internal_port": None}
    if data_dir is not None:
        chosen["data_dir"] = data_dir
    if options.port is not None:
        chosen["port"] = options.port
    if options.ephemeral:
        chosen |= dict.fromkeys(OF_THE_ENVIRONMENT) | {"issuer": "", "signing_algorithm": "ES256"}
    settings = load_development_settings(**chosen)
    try:
        (listener,) = listen(settings.host, settings.port, 1)
    except OSError as error:
        raise _port_error(settings.port, error, "--port") from error
    if settings.port == 0:
        settings = load_development_settings(**chosen | {"port": listener.getsockname()[1]})
    return settings, listener


def _make_page(options: Options, settings: Settings) -> ThreadingHTTPServer | None:
    """Return the server of the page, or None if the issuer is https: browsers send its cookie to no page on http."""
    if urlsplit(settings.issuer_url).scheme != "http":
        return None
    port = options.page_port
    if port is None:
        port = 0 if options.port == 0 else PAGE_PORT
    try:
        return make_page_server(port, issuer=settings.issuer_url, orders=options.orders_url, client_id=page_client_id)
    except OSError as error:
        raise _port_error(port, error, "--page-port") from error


def _port_error(port: int, error: OSError, option: str) -> SettingsError:
    # The rest of the text repeats the address.
    reason = str(error.strerror).partition(" (while")[0]
    return SettingsError(
        f"Port {port} cannot be used ({reason}). Stop what uses it, or choose another with {option}; 0 is any."
    )


async def _is_ready_in_time(app: FastAPI) -> bool:
    """Return whether `/readyz` responds with 200 within READY_SECONDS. The application is called itself, without a network."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + READY_SECONDS
    for pause in itertools.repeat(0.25):
        if await _status(app, "/readyz") == HTTPStatus.OK:
            return True
        if loop.time() > deadline:
            break
        await asyncio.sleep(pause)
    return False


async def _status(app: FastAPI, path: str) -> int:
    """Return the status of the response to a GET."""
    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http", "path": path,
        "raw_path": path.encode(), "root_path": "", "query_string": b"", "headers": [(b"host", b"localhost")], "client": None,
        "server": None,
    }  # fmt: skip
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(scope, receive, send)
    return statuses[0]
