"""A process whose own clock is wrong deletes no live session, and leaves out nothing that was revoked."""

import pytest

from authmint.jose import decode_base64url, read_json_object
from authmint.revoked_entries import entry_of
from authmint_service.accounts import AccountStore
from authmint_service.clients import ClientStore
from authmint_service.features.kernel import make_kernel
from authmint_service.features.revocation_list import revocation_list
from authmint_service.features.sessions import sessions
from authmint_service.features.signing import signing
from authmint_service.sessions import EndCause
from tests.actors import OPERATOR
from tests.service.conftest import Service, make_settings
from tests.service.devices import SignedIn, sign_in

pytestmark = pytest.mark.anyio

DAY = 86_400


def sid_of(one: SignedIn) -> str:
    return str(read_json_object(decode_base64url(one.access.split(".")[1]))["sid"])


@pytest.mark.parametrize("ahead", [3600, 40 * DAY])
async def test_a_process_whose_clock_is_ahead_prunes_no_live_session_and_lists_every_revocation(
    service: Service, dsn: str, ahead: float
) -> None:
    live, revoked = await sign_in(service), await sign_in(service)
    kernel = make_kernel(make_settings(dsn), lambda: service.clock() + ahead, service.clock.ask, None)
    parts, keys = sessions(kernel), signing(kernel)
    lists = revocation_list(kernel, keys.ring)
    await revoked.ask("DELETE", "/account/v1/sessions/current")
    async with kernel.database.open(dsn):
        await lists.publisher.read()
        for task in (*keys.feature.tasks, *parts.feature.tasks):
            await task.run()
        listed = lists.publisher.entries
    assert not await live.is_over()
    assert entry_of(sid_of(revoked)) in listed.sessions


async def test_what_a_process_revokes_whose_clock_is_behind_is_listed(service: Service, dsn: str) -> None:
    one = await sign_in(service)
    await service.read_revocations()
    kernel = make_kernel(make_settings(dsn), lambda: service.clock() - 3600, service.clock.ask, None)
    behind = sessions(kernel).sessions
    # Metrics need a whole application.
    behind._count = lambda *_: None
    async with kernel.database.open(dsn):
        await kernel.changes.read()
        ended = await behind.revoke(sid_of(one), account_id=one.user.id, cause=EndCause.OPERATOR, actor=OPERATOR, source=None)
    await service.read_revocations()
    assert ended
    assert entry_of(sid_of(one)) in service.app.state.revocation_list.entries.sessions


async def test_what_is_disabled_by_a_wrong_clock_is_a_change_at_the_time_of_the_database(service: Service) -> None:
    person, client = await service.add_account(), await service.add_client()
    accounts, clients = AccountStore(service.database), ClientStore(service.database)
    for seconds in (0, -1000, 1_000_000):
        now = service.clock() + seconds
        await accounts.disable(person.id, now, actor=OPERATOR)
        await clients.disable(client.client_id, now, actor=OPERATOR)
    statement = "SELECT n - extract(epoch FROM clock_timestamp()) * 1000 AS age FROM authmint.changes WHERE name = $1 AND takes"
    for name in (person.id, client.client_id):
        ages = [row["age"] for row in await service.database.fetch_all(statement, name)]
        assert (3, True) == (len(ages), all(-60_000 < age < 60_000 for age in ages))
