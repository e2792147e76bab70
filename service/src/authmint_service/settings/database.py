"""How the database is reached. A migration needs these settings and no others."""

import re
from functools import cached_property
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from authmint_service.errors import SettingsError
from authmint_service.settings.connection_string import ConnectionString, read_connection_string
from authmint_service.settings.group import Required, Secret, split_url
from authmint_service.settings.service import DataFolderSettings

ADVICE = "Set it to the URL of a PostgreSQL. An embedded one is for AUTHMINT_ENVIRONMENT=development alone."
FORM = "must look like postgresql://user:password@host:5432/name"
_PORT = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_HOST = re.compile(rf"(\[[^\]]*\]|[^:\[\]]*)(:({_PORT})?)?")


class DatabaseSettings(DataFolderSettings):
    """The database's address and the size of the pool."""

    title: ClassVar[str] = "Database"

    database_url: Annotated[
        Secret | None,
        Required(ADVICE),
        Field(
            description="URL of a PostgreSQL, 14 to 18. In development it may be left out: then one is started in the data "
            "folder. On Debian, `apt-get install postgresql` installs a server and `pg_ctlcluster 15 main start` starts it.",
            examples=["postgresql://user:password@host:5432/name"],
        ),
    ] = None
    database_pool_size: Annotated[
        int, Field(ge=1, le=200, description="Maximum number of database connections of one process.")
    ] = 10
    database_statement_cache: Annotated[
        int,
        Field(
            ge=0,
            le=1000,
            description="Prepared statements that each connection keeps. Set it to 0 behind PgBouncer in transaction mode, "
            "where the next statement may run on another server connection; `authmint-service migrate` then needs the "
            "address of PostgreSQL itself.",
        ),
    ] = 100

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, url: Secret | None) -> Secret | None:
        if url is None:
            return url
        parts = split_url(url.get_secret_value())
        if parts.scheme not in {"postgresql", "postgres"}:
            raise ValueError(FORM)
        # The driver would take what stands before such a character for the host and its port, and repeat it in its error.
        if "@" not in parts.netloc and "@" in parts.path + parts.query + parts.fragment:
            raise ValueError(f"{FORM}; in a password, write / as %2F, ? as %3F, # as %23 and @ as %40")
        if parts.netloc.count("@") > 1:
            raise ValueError(f"{FORM}; in a password, write @ as %40")
        hosts = parts.netloc.rpartition("@")[2].split(",")
        if not all(map(_HOST.fullmatch, hosts)):
            raise ValueError(f"{FORM}; a port is not a number from 1 to 65535")
        if len(hosts) > 1 and "" in hosts:
            raise ValueError(f"{FORM}; one of several hosts has no name")
        read_connection_string(url.get_secret_value())
        return url

    @cached_property
    def connection(self) -> ConnectionString:
        """Return what the driver understands of the URL."""
        return read_connection_string("" if self.database_url is None else self.database_url.get_secret_value())

    @property
    def statement_cache_size(self) -> int:
        """Return how many prepared statements a connection keeps: none if the URL says that a pooler is between."""
        return 0 if self.connection.is_pooled else self.database_statement_cache

    def connection_notes(self) -> list[str]:
        """Return a sentence if parts of the URL have no effect."""
        names = self.connection.passed_over
        return [f"AUTHMINT_DATABASE_URL has parameters that are passed over: {', '.join(names)}."] if names else []

    @property
    def uses_embedded_database(self) -> bool:
        return self.database_url is None

    def check_database(self) -> None:
        """Raise SettingsError in production without a database: an embedded one would be empty, and look as if it worked."""
        if self.uses_embedded_database and not self.is_development:
            raise SettingsError(f"AUTHMINT_DATABASE_URL is missing. {ADVICE}")
