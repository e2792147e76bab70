"""Grace period, idle and absolute lifetime of each client; without them, those of the service."""

from typing import Any

import pytest

from authmint_service.errors import InvalidValue
from tests.service.conftest import Service, StartService
from tests.service.devices import sign_in

pytestmark = pytest.mark.anyio

REFUSED = (400, "invalid_grant")


@pytest.mark.own_service
async def test_a_clients_own_grace_period_is_the_one_that_counts(service: Service) -> None:
    for grace, waited, is_valid in ((0, 1, False), (120, 100, True), (None, 29, True), (None, 31, False)):
        one = await sign_in(service, client=await service.add_client(refresh_grace_seconds=grace))
        assert 200 == (await service.refresh(one.client, one.refresh)).status_code
        service.clock.now += waited
        assert is_valid == (200 == (await service.refresh_elsewhere(one.client, one.refresh)).status_code), (grace, waited)


async def test_idle_sessions_of_a_client_may_expire_sooner_or_later_than_the_service(start_service: StartService) -> None:
    service = await start_service(session_idle_ttl=3600)
    for idle, waited, is_valid in ((600, 601, False), (600, 599, True), (7200, 7199, True), (None, 3601, False)):
        one = await sign_in(service, client=await service.add_client(session_idle_ttl=idle))
        # The refresh starts the idle time again, with the client's own value.
        one.refresh = (await service.refresh(one.client, one.refresh)).json()["refresh_token"]
        service.clock.now += waited
        assert is_valid == (not await one.is_over()), (idle, waited)


@pytest.mark.own_service
async def test_a_clients_sessions_expire_after_its_own_ttl_however_often_they_are_refreshed(service: Service) -> None:
    one = await sign_in(service, client=await service.add_client(session_ttl=1000))
    for _ in range(9):
        service.clock.now += 110
        one.refresh = (await service.refresh(one.client, one.refresh)).json()["refresh_token"]
    service.clock.now += 11
    assert await one.is_over()


@pytest.mark.parametrize(
    "lifetimes",
    [
        {"refresh_grace_seconds": 121}, {"refresh_grace_seconds": -1}, {"session_idle_ttl": 59}, {"session_ttl": 59},
        {"session_ttl": 367 * 86_400}, {"session_idle_ttl": 7200, "session_ttl": 3600},
    ],
)  # fmt: skip
async def test_lifetimes_that_make_no_sense_are_refused(service: Service, lifetimes: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        await service.add_client(**lifetimes)
