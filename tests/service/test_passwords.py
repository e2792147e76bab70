"""Names and passwords: in one form, long enough, hashed slowly and in bounded numbers, and never telling who exists."""

import asyncio
import time
import unicodedata

import pytest
from passlib.hash import argon2, bcrypt
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from authmint.errors import TemporarilyUnavailable
from authmint_service.accounts import AccountStore, prepare_username
from authmint_service.authentication import PasswordAuthenticator
from authmint_service.database import Database
from authmint_service.errors import AlreadyExists, DatabaseUnavailable, InvalidValue
from authmint_service.events import FailureRecorder
from authmint_service.passwords import PasswordHasher, PasswordPolicy, PasswordStore
from authmint_service.passwords.preparation import prepare_password
from authmint_service.secret_keys import SecretKeys
from tests.actors import NO_REQUEST, OPERATOR
from tests.service.conftest import PASSWORD, Service, StartService

pytestmark = pytest.mark.anyio

RULES = PasswordPolicy(min_length=15, context_words=("authmint",))


async def stored_hash(service: Service, account_id: str) -> str:
    value: str = await service.database.fetch_value("SELECT hash FROM authmint.passwords WHERE account_id = $1", account_id)
    return value


async def test_fifteen_code_points_are_enough_and_fourteen_are_not() -> None:
    assert "tqfvzmwkrbxhgpd" == await RULES.check("tqfvzmwkrbxhgpd", username="x")
    await RULES.check("😀😁😂🤣😃😄😅😆😉😊😋😎😍😘🥰", username="x")
    for short in ("abcdefghijklmn", "😀😁😂🤣😃😄😅😆😉😊😋😎😍😘"):
        with pytest.raises(InvalidValue, match="15 characters"):
            await RULES.check(short, username="x")


async def test_the_passwords_that_are_guessed_first_are_refused() -> None:
    lax = PasswordPolicy(min_length=8)
    for common in list(FREQUENCY_LISTS["passwords"])[:3000]:
        for spelling in (common, common.upper()):
            with pytest.raises(InvalidValue):
                await lax.check(spelling, username="x")


@pytest.mark.parametrize(
    "password", ["authmintauthmint", "alice.liddell.99", "AuthMint-2026!!!", "aaaaaaaaaaaaaaaa", "abababababababab"]
)
async def test_a_name_or_a_repetition_is_no_password(password: str) -> None:
    with pytest.raises(InvalidValue):
        await RULES.check(password, username="alice.liddell")


@pytest.mark.parametrize("password", ["x" * 257, "with\ncontrol character", "nul\0 in the middle", ""])
def test_a_password_that_is_too_long_or_has_controls_is_refused(password: str) -> None:
    with pytest.raises(InvalidValue):
        prepare_password(password)


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("", "password_too_short"),
        ("fourteen chars", "password_too_short"),
        ("x" * 257, "password_too_long"),
        ("with\ncontrol character", "password_invalid_characters"),
        ("alice.liddell.99", "password_too_similar"),
        ("abababababababab", "password_repetitive"),
    ],
)
async def test_a_refused_password_has_a_code(password: str, code: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        await RULES.check(password, username="alice.liddell")
    assert (code, "password") == (refused.value.code, refused.value.field)
    with pytest.raises(InvalidValue) as refused:
        await PasswordPolicy(min_length=8).check("password", username="x")
    assert ("password_too_common", "password") == (refused.value.code, refused.value.field)


def test_a_name_has_one_form_however_it_was_typed() -> None:
    assert {"alice"} == {prepare_username(typed) for typed in ("alice", "Alice", "ALICE", "Ａｌｉｃｅ")}
    assert prepare_username("jose\u0301") == prepare_username("JOSÉ")


@pytest.mark.parametrize("name", ["", " ", "a b", "a\0b", "a\nb", "\u202eabc", "a" * 129, "\u200b", "\ud800"])
def test_a_name_that_could_be_mistaken_for_another_is_refused(name: str) -> None:
    with pytest.raises(InvalidValue):
        prepare_username(name)


@pytest.mark.parametrize("password", ["a" * 63 + "b", "🦜" * 64, "p" * 72 + "q", "ein Satz mit Ümläuten und Leerzeichen"])
async def test_long_and_wide_passwords_work_to_the_last_character(service: Service, password: str) -> None:
    hasher = PasswordHasher(workers=1, queue=1)
    client = await service.add_client()
    user = await service.add_account(password_hash=await hasher.hash(prepare_password(password)))
    hasher.close()
    assert 200 == (await service.sign_in(client, user, password)).status_code
    assert 200 == (await service.sign_in(client, user, unicodedata.normalize("NFD", password))).status_code
    for wrong in (password[:-1], password + "x", password[:-1] + "X", password.swapcase() + "y"):
        assert 400 == (await service.sign_in(client, user, wrong)).status_code


async def test_hashes_are_argon2id_with_salt_and_cost(service: Service) -> None:
    hasher = PasswordHasher(workers=2, queue=2)
    one, other = await asyncio.gather(hasher.hash("same"), hasher.hash("same"))
    hasher.close()
    assert one != other
    assert one.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.parametrize("old", ["argon2 with less memory", "bcrypt"])
async def test_an_older_hash_is_replaced_at_the_next_sign_in(service: Service, old: str) -> None:
    before = (
        bcrypt.using(rounds=4).hash(PASSWORD) if old == "bcrypt" else argon2.using(memory_cost=1024, rounds=1).hash(PASSWORD)
    )
    user, client = await service.add_account(password_hash=before), await service.add_client()
    assert 200 == (await service.sign_in(client, user)).status_code
    after = await stored_hash(service, user.id)
    assert after.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert 200 == (await service.sign_in(client, user)).status_code
    assert after == await stored_hash(service, user.id)


async def test_a_name_is_found_in_any_spelling(service: Service) -> None:
    user, client = await service.add_account("Ärger-" + str(time.monotonic_ns())), await service.add_client()
    answer = await service.token(
        grant_type="password", client_id=client.client_id, username=user.username.upper(), password=PASSWORD
    )
    assert 200 == answer.status_code


async def test_of_many_who_take_one_name_at_once_one_gets_it(service: Service) -> None:
    name = f"popular-{time.monotonic_ns()}"
    results = await asyncio.gather(*(service.add_account(name) for _ in range(50)), return_exceptions=True)
    assert 1 == sum(not isinstance(result, BaseException) for result in results)
    assert {AlreadyExists} == {type(result) for result in results if isinstance(result, BaseException)}


async def test_identity_is_the_subject_and_not_the_name(service: Service) -> None:
    user, client = await service.add_account(), await service.add_client()
    tokens = (await service.sign_in(client, user)).json()
    await service.database.execute(
        "UPDATE authmint.account_names SET prepared = prepared || '-renamed' WHERE account_id = $1", user.id
    )
    newcomer = await service.add_account(user.username)
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    me = (await service.http.get("/account/v1", headers=headers)).json()
    assert (user.id, f"{user.username}-renamed") == (me["id"], me["username"])
    assert newcomer.id != me["id"]


async def test_the_token_of_a_disabled_account_is_refused_at_its_own_account(service: Service) -> None:
    user, client = await service.add_account(), await service.add_client()
    headers = {"Authorization": f"Bearer {(await service.sign_in(client, user)).json()['access_token']}"}
    await AccountStore(service.database).disable(user.id, service.clock(), actor=OPERATOR)
    assert 401 == (await service.http.get("/account/v1", headers=headers)).status_code


async def test_a_slot_is_taken_until_the_hash_has_ended_even_if_its_caller_has_disconnected() -> None:
    hasher = PasswordHasher(workers=1, queue=0, memory_kib=64 * 1024, rounds=6)
    running = asyncio.create_task(hasher.hash("slow"))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(TemporarilyUnavailable):
        await hasher.hash("next")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            assert (await hasher.hash("next")).startswith("$argon2id$")
            break
        except TemporarilyUnavailable:
            await asyncio.sleep(0.02)
    else:
        pytest.fail("the place was never given back")
    hasher.close()


async def test_a_sign_in_that_finds_the_queue_full_is_refused_before_the_database_is_asked() -> None:
    hasher = PasswordHasher(workers=1, queue=0)
    database = Database(size=1)
    failures = FailureRecorder(database, SecretKeys({1: bytes(32)}), lambda: 0.0)
    people = PasswordAuthenticator(AccountStore(database), PasswordStore(database), hasher, failures)
    running = asyncio.create_task(hasher.hash("the only place"))
    await asyncio.sleep(0)
    with pytest.raises(TemporarilyUnavailable, match="Too many sign-ins"):
        await people.authenticate("anna", "seven green parrots", actor=OPERATOR, source=NO_REQUEST)
    await running
    with pytest.raises(DatabaseUnavailable):
        await people.authenticate("anna", "seven green parrots", actor=OPERATOR, source=NO_REQUEST)
    hasher.close()


async def test_too_many_sign_ins_at_once_get_a_retry_after(start_service: StartService) -> None:
    service = await start_service(password_hash_workers=1, password_hash_queue=1)
    user, client = await service.add_account(), await service.add_client()
    answers = await asyncio.gather(*(service.sign_in(client, user) for _ in range(12)))
    refused = [answer for answer in answers if answer.status_code == 503]
    assert refused
    assert {200, 503} == {answer.status_code for answer in answers}
    assert {("2", "temporarily_unavailable")} == {(one.headers["retry-after"], one.json()["error"]) for one in refused}
