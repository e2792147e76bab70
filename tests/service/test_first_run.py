"""The account and the clients of a development service are those in its file, whatever its database is."""

from pathlib import Path

import pytest

from authmint_service.accounts import AccountStore
from authmint_service.clients import ClientStore
from authmint_service.database import Database
from authmint_service.development.first_run import FILE, FirstRun
from authmint_service.development.start import _is_ready_in_time
from authmint_service.errors import SettingsError
from tests.service.conftest import ISSUER, Service, migrated_database

pytestmark = pytest.mark.anyio


async def add_missing(folder: Path, database: Database) -> str:
    """Run it, and return the secret of the service."""
    folder.mkdir(exist_ok=True)
    return (await FirstRun(folder, ISSUER, None, "").add_missing(database, lambda _: None)).service_client_secret


async def test_the_printed_credentials_are_in_the_database_that_is_used_now(
    empty_database: Database, server_dsn: str, tmp_path: Path
) -> None:
    secret = await add_missing(tmp_path / "a", empty_database)
    async with migrated_database(server_dsn) as dsn, (other := Database(size=1)).open(dsn):
        assert secret == await add_missing(tmp_path / "a", other) == await add_missing(tmp_path / "a", other)
        assert await AccountStore(other).find_by_name("demo")
        assert {"demo-service", "demo-spa"} == {client.client_id for client in await ClientStore(other).list(limit=100)}


async def test_a_database_with_the_clients_of_another_folder_is_refused(empty_database: Database, tmp_path: Path) -> None:
    await add_missing(tmp_path / "a", empty_database)
    with pytest.raises(SettingsError, match="another data folder") as raised:
        await add_missing(tmp_path / "b", empty_database)
    assert "amcs_" not in str(raised.value)
    assert not (tmp_path / "b" / FILE).exists()


async def test_a_development_start_sees_that_its_service_is_ready(service: Service) -> None:
    """Kind: a request that no client sends, and that a new check of requests refuses: here it comes from the start itself."""
    assert await _is_ready_in_time(service.app)
