"""What comes before the first request: the database, a check of the keys, and the processes."""

import asyncio
import os
import socket
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager, suppress

import structlog
from fastapi import FastAPI

from authmint_service.app import create_app
from authmint_service.database import Database, database_url
from authmint_service.embedded_postgres import holding_embedded_postgres
from authmint_service.errors import DatabaseUnavailable, SchemaOutdated, SettingsError
from authmint_service.processes import ProcessStore
from authmint_service.running_services import RunningService, listed
from authmint_service.serving.server import run_until_stopped, serve_requests
from authmint_service.serving.workers import Workers
from authmint_service.settings import Settings, load_settings, notes_about_variables, settings_without_secrets
from authmint_service.signing_keys import SigningKeyStore, StoredKey

log = structlog.get_logger(__name__)


def serve(settings: Settings, listeners: Sequence[socket.socket], internal: socket.socket | None = None) -> bool:
    """Serve with one process for each listener until a signal to stop. Raises SettingsError.

    `internal`: the socket of the internal listener, which all processes share. Return False when the service failed instead.
    """
    for note in (*notes_about_variables(), *settings.connection_notes()):
        log.warning("service.started", note=note)
    with listed_for_commands(settings):
        if len(listeners) == 1:
            run_until_stopped(_serve_alone(settings, listeners[0], internal))
            return True
        return _serve_with_workers(settings, listeners, internal)


@contextmanager
def listed_for_commands(settings: Settings, *, ephemeral: bool = False) -> Iterator[None]:
    """List a development service inside the block, so that commands find it. Others are reached by AUTHMINT_DATABASE_URL."""
    if not (settings.is_development and settings.uses_embedded_database):
        yield
        return
    values, secrets = settings_without_secrets(settings)
    service = RunningService(
        url=settings.issuer_url,
        data_dir=str(settings.data_dir.absolute()),
        pid=os.getpid(),
        settings=values,
        secrets=secrets,
        ephemeral=ephemeral,
    )
    with listed(service):
        yield


async def _serve_alone(settings: Settings, listener: socket.socket, internal: socket.socket | None) -> None:
    async with database_url(settings) as dsn:
        await _check_keys(settings, dsn)
        app = create_app(settings, dsn=dsn)
        await serve_requests(app, listener, internal, shutdown_seconds=settings.shutdown_seconds)


def _serve_with_workers(settings: Settings, listeners: Sequence[socket.socket], internal: socket.socket | None) -> bool:
    workers = Workers(listeners, internal, shutdown_seconds=settings.shutdown_seconds)
    last = settings
    with workers.handle_signals(), _database(settings) as dsn:

        def make_app(current: FastAPI | None) -> FastAPI:
            nonlocal last
            # A wrong setting is found here, once, and not in each process.
            chosen = settings if current is None else load_settings(workers=len(listeners))
            removed = {key_id for key_id, key in last.refresh_keys.items() if chosen.refresh_keys.get(key_id) != key}
            asyncio.run(_check_keys(chosen, dsn, removed=removed))
            app = create_app(chosen, dsn=dsn, metrics=None if current is None else current.state.metrics)
            last = chosen
            return app

        return workers.run(make_app)


async def _check_keys(settings: Settings, dsn: str, *, removed: Set[int] = frozenset()) -> None:
    """Raise SettingsError when the signing keys at `dsn` cannot be decrypted with the encryption keys of `settings`.

    Also when a refresh-token key of `removed` is in use: it is missing, or its id stands for another key. If the database is
    unavailable, or has no schema yet, nothing is checked: the service waits for it.
    """
    database = Database(size=1, statement_cache=settings.statement_cache_size)
    async with database.open(dsn):
        with suppress(DatabaseUnavailable, SchemaOutdated):
            if settings.hmac_secret is None:
                _check_decrypted(settings, await SigningKeyStore(database, settings.encryption_keys).load())
            used = (await ProcessStore(database).find_live()).used.keys() if removed else set()
            for key_id in sorted(removed & used):
                problem = (
                    f"has another key with the id {key_id} than the one"
                    if key_id in settings.refresh_keys
                    else f"lacks the key {key_id},"
                )
                raise SettingsError(
                    f"AUTHMINT_REFRESH_TOKEN_KEYS {problem} on which sessions depend. Drop that first: "
                    f"authmint-service secrets drop {key_id}"
                )


def _check_decrypted(settings: Settings, keys: Sequence[StoredKey]) -> None:
    unreadable = [key for key in keys if key.problem is not None]
    # A damaged row stops nothing as long as another key can be used. A missing encryption key is an error of the settings.
    for key in unreadable:
        lacks_its_key = key.encryption_key_id not in settings.encryption_keys
        if lacks_its_key or not any(other.signer for other in keys):
            raise SettingsError(f"{key.problem} Without it no token can be signed.")


@contextmanager
def _database(settings: Settings) -> Iterator[str]:
    """Yield its URL. The parent alone holds the embedded one, so that it is started and stopped once."""
    settings.check_database()
    if settings.database_url is not None:
        yield settings.connection.dsn
    else:
        with holding_embedded_postgres(settings.data_dir) as dsn:
            yield dsn
