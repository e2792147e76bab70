"""How the database is reached. A migration needs these settings and no others."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from authmint_service.settings.service import DataFolderSettings


class DatabaseSettings(DataFolderSettings):
    """The database's address and the size of the pool."""

    database_url: Annotated[
        SecretStr | None, Field(description="postgresql:// URL. Left out: a PostgreSQL is started in the data folder.")
    ] = None
    database_pool_size: Annotated[int, Field(ge=1, le=200, description="Maximum number of connections of one process.")] = 10
    database_statement_cache: Annotated[
        int, Field(ge=0, le=1000, description="Prepared statements that each connection keeps; 0 behind PgBouncer.")
    ] = 100

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and urlsplit(url.get_secret_value()).scheme not in {"postgresql", "postgres"}:
            raise ValueError("must look like postgresql://user:password@host:5432/name")
        return url

    @property
    def uses_embedded_database(self) -> bool:
        return self.database_url is None
