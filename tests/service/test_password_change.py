"""A change of the password revokes all other sessions, and the old password starts none again."""

import asyncio

import httpx2
import pytest

from tests.service.conftest import PASSWORD, Service
from tests.service.devices import SignedIn, sign_in

pytestmark = pytest.mark.anyio

NEW = "nine blue herons on a barge"


async def change_password(one: SignedIn, **form: str) -> httpx2.Response:
    known = {"current_password": PASSWORD, "new_password": NEW, "refresh_token": one.refresh}
    answer = await one.service.http.put("/account/v1/password", data=known | form, headers=one.bearer)
    one.refresh = answer.json().get("refresh_token", one.refresh)
    return answer


async def test_changing_the_password_revokes_the_nine_other_sessions_and_the_old_password_starts_none(service: Service) -> None:
    here = await sign_in(service)
    others = [await sign_in(service, here.user) for _ in range(9)]
    assert 200 == (await change_password(here)).status_code
    assert all([await other.is_over() for other in others])
    assert not await here.is_over()
    assert 400 == (await service.sign_in(here.client, here.user)).status_code
    assert 200 == (await service.sign_in(here.client, here.user, NEW)).status_code


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"current_password": "wrong"}, (403, "wrong_password")), ({"current_password": ""}, (422, "invalid_request")),
        ({"new_password": "short"}, (422, "password_too_short")), ({"new_password": ""}, (422, "password_too_short")),
        ({"new_password": "a\0b" + NEW}, (400, "invalid_request")), ({"new_password": "x" * 40_000}, (400, "invalid_request")),
        ({"new_password": "aaaaaaaaaaaaaaaaaaaa"}, (422, "password_repetitive")),
    ],
)  # fmt: skip
async def test_a_password_that_is_not_changed_changes_nothing(
    service: Service, form: dict[str, str], expected: tuple[int, str]
) -> None:
    here = await sign_in(service)
    there = await sign_in(service, here.user)
    answer = await change_password(here, **form)
    assert expected == (answer.status_code, answer.json()["code"])
    assert not await there.is_over()
    assert 200 == (await service.sign_in(here.client, here.user)).status_code


async def test_a_sign_in_beside_a_change_of_the_password_starts_no_session_that_outlives_it(service: Service) -> None:
    for _ in range(10):
        here = await sign_in(service)
        signing_in = [asyncio.create_task(service.sign_in(here.client, here.user)) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert 200 == (await change_password(here)).status_code
        for answer in await asyncio.gather(*signing_in):
            if answer.status_code == 200:
                late = SignedIn(service, here.client, here.user, "", answer.json()["refresh_token"])
                assert await late.is_over()
