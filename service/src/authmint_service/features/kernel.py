"""The layers that every feature stands on: settings, clocks, the database, metrics. Nothing of a noun is here."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from authmint_service import __version__
from authmint_service.change_feed import ChangeFeed, seconds_since_boot
from authmint_service.database import Database
from authmint_service.database_clock import DatabaseClock
from authmint_service.draining import Draining
from authmint_service.errors import SettingsError
from authmint_service.metrics import Metrics
from authmint_service.one_time_tokens import OneTimeTokens
from authmint_service.processes import Processes, SecretKind
from authmint_service.settings import Settings

if TYPE_CHECKING:
    from authmint_service.tracing import Tracing


@dataclass(frozen=True)
class Kernel:
    """What features are built on."""

    settings: Settings
    clock: Callable[[], float]
    """This process's clock, seconds since the epoch."""
    database: Database
    database_clock: DatabaseClock
    """The clock that all processes share."""
    changes: ChangeFeed
    """What other processes have changed."""
    processes: Processes
    """Which secret keys the other processes have, and so which of its own this one uses for new values."""
    one_time_tokens: OneTimeTokens
    """Links and codes that are used once."""
    metrics: Metrics
    draining: Draining
    tracing: "Tracing | None"

    @property
    def issuer(self) -> str:
        return self.settings.issuer_url


def make_kernel(
    settings: Settings,
    clock: Callable[[], float],
    database_time: Callable[[], Awaitable[float]] | None,
    metrics: Metrics | None,
) -> Kernel:
    """Make the kernel of one process. Raise SettingsError. The arguments are those of `create_app`."""
    tracing = _tracing(settings)
    make_database = Database if tracing is None else tracing.database
    database = make_database(size=settings.database_pool_size, statement_cache=settings.statement_cache_size)
    shared_clock = DatabaseClock(clock, database_time)
    changes = ChangeFeed(database, shared_clock, seconds_since_boot)
    keys = {SecretKind.REFRESH_TOKEN: settings.refresh_keys, SecretKind.KEY_ENCRYPTION: settings.encryption_keys}
    processes = Processes(database, keys, seconds_since_boot, version=__version__)
    one_time = OneTimeTokens(database, processes.keys(SecretKind.REFRESH_TOKEN))
    return Kernel(
        settings, clock, database, shared_clock, changes, processes, one_time, metrics or Metrics(), Draining(), tracing
    )


def _tracing(settings: Settings) -> "Tracing | None":
    """Import OpenTelemetry only when an endpoint is configured."""
    if settings.otlp_endpoint is None:
        return None
    try:
        from authmint_service.tracing import Tracing
    except ImportError as error:
        raise SettingsError("AUTHMINT_OTLP_ENDPOINT needs more: install authmint-service[opentelemetry].") from error
    return Tracing(settings.otlp_endpoint)
