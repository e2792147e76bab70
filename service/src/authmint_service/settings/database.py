"""How the database is reached. A migration needs these settings and no others."""

from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from authmint_service.settings.group import Secret
from authmint_service.settings.service import DataFolderSettings


class DatabaseSettings(DataFolderSettings):
    """The database's address and the size of the pool."""

    title: ClassVar[str] = "Database"

    database_url: Annotated[
        Secret | None,
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
        if url is not None and urlsplit(url.get_secret_value()).scheme not in {"postgresql", "postgres"}:
            raise ValueError("must look like postgresql://user:password@host:5432/name")
        return url

    @property
    def uses_embedded_database(self) -> bool:
        return self.database_url is None
