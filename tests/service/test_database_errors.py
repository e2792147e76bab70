"""Each SQLSTATE is a 503 with Retry-After, or a fault of ours: no error of the database is taken for the fault of a request."""

import inspect
from collections.abc import AsyncIterator

import asyncpg
import pytest

from authmint_service.database import Database
from authmint_service.errors import DatabaseUnavailable, SchemaOutdated, Unavailability
from tests.service.conftest import StartService, make_first_key, migrated_database

pytestmark = pytest.mark.anyio

UNAVAILABLE = {
    "08": "unreachable", "28": "refused", "3D": "refused", "40": "unreachable", "53": "failed", "55": "unreachable",
    "57": "unreachable", "58": "failed", "72": "failed", "F0": "failed", "XX": "failed",
    "25006": "read_only", "25P03": "unreachable", "25P04": "unreachable", "26000": "refused", "42501": "refused",
    "42P05": "refused", "53300": "exhausted", "54000": "failed",
}  # fmt: skip
OUTDATED = {"42P01", "42703", "3F000"}
FAULTS = {
    "03", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "22", "23", "24", "25", "26", "27", "2B", "2D", "2F",
    "34", "38", "39", "3B", "3F", "42", "44", "54", "HV", "P0",
}  # fmt: skip
"""Classes of which all other conditions are faults of ours: a statement, a value or a transaction is wrong."""

ERRORS = [error for error in vars(asyncpg.exceptions).values() if inspect.isclass(error) and hasattr(error, "sqlstate")]
STATES = sorted({error.sqlstate for error in ERRORS if error.sqlstate and issubclass(error, asyncpg.PostgresError)})
RAISE = "DO $$ BEGIN RAISE EXCEPTION 'said' USING ERRCODE = '{}', DETAIL = 'canary'; END $$"


@pytest.fixture(scope="module")
async def database(server_dsn: str) -> AsyncIterator[Database]:
    async with (found := Database(size=1)).open(server_dsn):
        yield found


def test_the_table_has_every_class_of_states() -> None:
    assert 240 < len(STATES)
    assert {state[:2] for state in STATES} == {state[:2] for state in UNAVAILABLE} | FAULTS
    assert set(Unavailability) == set(UNAVAILABLE.values())


@pytest.mark.parametrize("state", STATES)
async def test_a_state_is_what_the_table_says(state: str, database: Database) -> None:
    """Kind: an error of the database that is a traceback, or a 500, or the fault of the request."""
    with pytest.raises((asyncpg.PostgresError, DatabaseUnavailable, SchemaOutdated)) as raised:
        await database.execute(RAISE.format(state))
    kind = UNAVAILABLE.get(state) or UNAVAILABLE.get(state[:2])
    found = raised.value
    if kind is not None:
        assert isinstance(found, DatabaseUnavailable)
        assert (kind, True, False) == (found.kind, str(found).startswith("said"), "canary" in str(found))
    else:
        assert (state in OUTDATED) == isinstance(found, SchemaOutdated)
        assert state[:2] in FAULTS


async def test_a_value_that_the_driver_cannot_send_is_a_fault_of_ours(database: Database) -> None:
    with pytest.raises(asyncpg.DataError, match="invalid input"):
        await database.fetch_value("SELECT $1::integer", "text")


ONE_OF_EACH = sorted({state for state in STATES if state.endswith("000") or state in OUTDATED | UNAVAILABLE.keys()})


async def test_a_refresh_that_meets_any_state_is_a_503_or_a_500_and_its_token_stays(
    server_dsn: str, start_service: StartService
) -> None:
    async with migrated_database(server_dsn) as at:
        await make_first_key(at)
        service = await start_service(at=at)
        account, client = await service.add_account(), await service.add_client()
        token = (await service.sign_in(client, account)).json()["refresh_token"]
        await service.database.execute("CREATE TABLE public.raised (state text)")
        await service.database.execute("INSERT INTO public.raised VALUES ('P0000')")
        await service.database.execute(
            "CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'canary' USING ERRCODE = (SELECT state FROM public.raised); END $$"
        )
        await service.database.execute(
            "CREATE TRIGGER failing BEFORE UPDATE ON authmint.sessions FOR EACH ROW EXECUTE FUNCTION public.fail()"
        )
        for state in ONE_OF_EACH:
            await service.database.execute("UPDATE public.raised SET state = $1", state)
            answer = await service.refresh(client, token)
            is_unavailable = {state, state[:2]} & UNAVAILABLE.keys() or state in OUTDATED
            expected = (503, "2") if is_unavailable else (500, None)
            assert expected == (answer.status_code, answer.headers.get("retry-after")), state
            assert "canary" not in answer.text
        await service.database.execute("DROP TRIGGER failing ON authmint.sessions")
        assert 200 == (await service.refresh(client, token)).status_code
        await service.stop()
