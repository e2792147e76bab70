"""One-time values, with a first user: a link that allows a new password, and a code that does the same."""

import asyncio
import hashlib
import hmac
import secrets
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from authmint.jose import decode_base64url, encode_base64url
from authmint_service.checksums import checksum
from authmint_service.clients import Client
from authmint_service.database import Database
from authmint_service.one_time_tokens import Code, Kind, OneTimeTokens, Owner, PresentedToken
from authmint_service.secret_keys import KEY_BYTES, SecretKeys
from tests.service.conftest import Service

pytestmark = pytest.mark.anyio

RESET = Kind(name="password_reset", lifetime=3600)
INVITATION = Kind(name="invitation", lifetime=3600)
RESET_CODE = Kind(name="password_reset_code", lifetime=600, form=Code(digits=6, max_tries=5))
SIGN_IN_CODE = Kind(name="sign_in_code", lifetime=600, form=Code(digits=6, max_tries=5))
REGISTRATION = Kind(name="registration", lifetime=600)

KEYS = SecretKeys({1: secrets.token_bytes(KEY_BYTES)})


class Reset:
    """Sets a password's hash with a one-time value: the effect and the use are one statement."""

    def __init__(self, database: Database) -> None:
        self._database = database

    _SET_HASH = """
        WITH used AS (DELETE FROM authmint.one_time_tokens
                       WHERE kind = $1 AND digest = ANY($2::bytea[]) AND expires_at > $3
                         AND account_id IS NOT DISTINCT FROM $4 AND client_id IS NOT DISTINCT FROM $5
                      RETURNING account_id, client_id)
        UPDATE authmint.passwords SET hash = $6 FROM used WHERE passwords.account_id = used.account_id
        RETURNING passwords.account_id
    """

    async def set_hash(self, presented: PresentedToken, text: str | None, now: float) -> bool:
        return await self._database.fetch_value(self._SET_HASH, *presented.values(now), text) is not None

    _USE = """
        WITH used AS (DELETE FROM authmint.one_time_tokens
                       WHERE kind = $1 AND digest = ANY($2::bytea[]) AND expires_at > $3
                         AND account_id IS NOT DISTINCT FROM $4 AND client_id IS NOT DISTINCT FROM $5
                      RETURNING account_id, client_id)
        SELECT count(*) FROM used
    """

    async def use(self, presented: PresentedToken, now: float) -> bool:
        return bool(await self._database.fetch_value(self._USE, *presented.values(now)))


@pytest.fixture
def tokens(service: Service) -> OneTimeTokens:
    return OneTimeTokens(service.database, KEYS)


@pytest.fixture
def reset(service: Service) -> Reset:
    return Reset(service.database)


async def new_owner(service: Service) -> Owner:
    return Owner(account_id=(await service.add_account()).id)


async def hash_of(service: Service, owner: Owner) -> str:
    statement = "SELECT hash FROM authmint.passwords WHERE account_id = $1"
    return str(await service.database.fetch_value(statement, owner.account_id))


async def test_a_link_has_its_effect_once(service: Service, tokens: OneTimeTokens, reset: Reset) -> None:
    owner, now = await new_owner(service), service.clock()
    text = await tokens.create(RESET, owner, now)
    assert text.startswith("amlt_")
    assert await reset.set_hash(tokens.present(RESET, text), "first", now)
    assert not await reset.set_hash(tokens.present(RESET, text), "second", now)
    assert "first" == await hash_of(service, owner)


async def test_of_twenty_that_use_one_value_at_once_one_has_the_effect(
    service: Service, tokens: OneTimeTokens, reset: Reset
) -> None:
    owner, now = await new_owner(service), service.clock()
    link, code = await tokens.create(RESET, owner, now), await tokens.create(RESET_CODE, owner, now)

    async def use_link(number: int) -> bool:
        return await reset.set_hash(tokens.present(RESET, link), f"link {number}", now)

    async def use_code(number: int) -> bool:
        presented = await tokens.present_code(RESET_CODE, code, str(owner.account_id), now)
        return await reset.set_hash(presented, f"code {number}", now)

    for use, name in ((use_link, "link"), (use_code, "code")):
        results = await asyncio.gather(*(use(number) for number in range(20)))
        assert 1 == results.count(True)
        assert f"{name} {results.index(True)}" == await hash_of(service, owner)


async def test_a_value_that_was_used_in_a_statement_that_failed_is_not_used(
    service: Service, tokens: OneTimeTokens, reset: Reset
) -> None:
    owner, now = await new_owner(service), service.clock()
    text = await tokens.create(RESET, owner, now)
    with pytest.raises(Exception, match="null value"):
        await reset.set_hash(tokens.present(RESET, text), None, now)
    assert await reset.set_hash(tokens.present(RESET, text), "new", now)


@pytest.mark.parametrize("kind", [RESET, RESET_CODE], ids=["link", "code"])
async def test_a_value_expires_at_the_end_of_its_kinds_lifetime(
    service: Service, tokens: OneTimeTokens, reset: Reset, kind: Kind
) -> None:
    owner, now = await new_owner(service), service.clock()
    for later, is_valid in ((kind.lifetime - 1, True), (kind.lifetime, False)):
        text = await tokens.create(kind, owner, now)
        if kind is RESET:
            presented = tokens.present(kind, text)
        else:
            presented = await tokens.present_code(kind, text, str(owner.account_id), now + later)
        assert is_valid == await reset.set_hash(presented, "new", now + later)


async def test_a_value_of_one_kind_opens_no_other(service: Service, tokens: OneTimeTokens, reset: Reset) -> None:
    """Each kind of this module presented as each: only the diagonal passes."""
    owner, now = await new_owner(service), service.clock()
    kinds = (RESET, INVITATION, RESET_CODE, SIGN_IN_CODE)

    async def present(kind: Kind, text: str) -> PresentedToken:
        if isinstance(kind.form, Code):
            return await tokens.present_code(kind, text, str(owner.account_id), now)
        return tokens.present(kind, text)

    for kind in kinds:
        text = await tokens.create(kind, owner, now)
        passed = [other for other in kinds if other is not kind and await reset.use(await present(other, text), now)]
        assert [] == passed
        assert await reset.use(await present(kind, text), now)


def changed(text: str, change: Callable[[bytes], bytes]) -> str:
    """A link with another content, and the checksum of that."""
    body = "amlt_" + encode_base64url(change(decode_base64url(text[5:-6])))
    return body + checksum(body)


FORGERIES: dict[str, Callable[[str, str], str]] = {
    "a value that was changed": lambda text, _: changed(text, lambda body: bytes([body[0] ^ 1]) + body[1:]),
    "another account's id": lambda text, other: changed(text, lambda body: body[:20] + uuid.UUID(other).bytes),
    "no account": lambda text, _: changed(text, lambda body: body[:20]),
    "part of an account": lambda text, _: changed(text, lambda body: body[:30]),
    "a wrong checksum": lambda text, _: text[:-1] + ("0" if text[-1] != "0" else "1"),
    "another prefix": lambda text, _: "amrt_" + text[5:],
    "nothing": lambda _text, _: "",
    "no ASCII": lambda text, _: text + "\u0661",
    "a null byte": lambda text, _: text + "\x00",
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forged_link_is_refused_and_leaves_the_real_one(
    service: Service, tokens: OneTimeTokens, reset: Reset, forgery: str
) -> None:
    owner, other, now = await new_owner(service), await new_owner(service), service.clock()
    text = await tokens.create(RESET, owner, now)
    forged = FORGERIES[forgery](text, str(other.account_id))
    assert not await reset.set_hash(tokens.present(RESET, forged), "forged", now)
    assert "forged" not in (await hash_of(service, owner), await hash_of(service, other))
    assert await reset.set_hash(tokens.present(RESET, text), "new", now)


async def test_a_row_that_was_given_to_another_account_opens_nothing(
    service: Service, tokens: OneTimeTokens, reset: Reset
) -> None:
    """Who can write to the database, and has no key, cannot turn an own link into another person's."""
    own, victim, now = await new_owner(service), await new_owner(service), service.clock()
    text = await tokens.create(RESET, own, now)
    statement = "UPDATE authmint.one_time_tokens SET account_id = $1 WHERE account_id = $2"
    await service.database.execute(statement, victim.account_id, own.account_id)
    assert not await reset.set_hash(tokens.present(RESET, text), "taken", now)
    swapped = FORGERIES["another account's id"](text, str(victim.account_id))
    assert not await reset.set_hash(tokens.present(RESET, swapped), "taken", now)
    assert "taken" != await hash_of(service, victim)


async def test_a_code_of_one_account_is_not_anothers(service: Service, tokens: OneTimeTokens, reset: Reset) -> None:
    owner, other, now = await new_owner(service), await new_owner(service), service.clock()
    text = await tokens.create(RESET_CODE, owner, now)
    while text == await tokens.create(RESET_CODE, other, now):
        pass
    assert not await reset.set_hash(await tokens.present_code(RESET_CODE, text, str(other.account_id), now), "x", now)
    assert await reset.set_hash(await tokens.present_code(RESET_CODE, text, str(owner.account_id), now), "x", now)


async def test_a_value_of_a_client_is_used_by_that_client_alone(service: Service, tokens: OneTimeTokens, reset: Reset) -> None:
    clients: list[Client] = [await service.add_client() for _ in range(2)]
    mine, others = (client.client_id for client in clients)
    account, now = await new_owner(service), service.clock()
    text = await tokens.create(REGISTRATION, Owner(client_id=mine), now)
    of_account = await tokens.create(REGISTRATION, account, now)
    for presented in (
        tokens.present(REGISTRATION, text),
        tokens.present(REGISTRATION, text, client_id=others),
        tokens.present(REGISTRATION, of_account, client_id=mine),
    ):
        assert not await reset.use(presented, now)
    assert await reset.use(tokens.present(REGISTRATION, text, client_id=mine), now)
    assert await reset.use(tokens.present(REGISTRATION, of_account), now)


async def test_a_value_of_no_one_is_used_without_an_owner(service: Service, tokens: OneTimeTokens, reset: Reset) -> None:
    text = await tokens.create(INVITATION, Owner(), service.clock())
    assert await reset.use(tokens.present(INVITATION, text), service.clock())


async def test_tries_are_counted_before_the_code_is_compared(service: Service, tokens: OneTimeTokens, reset: Reset) -> None:
    owner, now = await new_owner(service), service.clock()
    account_id = str(owner.account_id)
    right = await tokens.create(RESET_CODE, owner, now)
    wrong = f"{(int(right) + 1) % 10**6:06}"
    # 30 guesses at once, the right one among them last. Those after the fifth are not compared.
    guesses = [wrong] * 5 + [right] * 25
    for guess in guesses:
        assert not await reset.set_hash(await tokens.present_code(RESET_CODE, guess, account_id, now), "guessed", now)
    counted = "SELECT tries FROM authmint.one_time_tokens WHERE account_id = $1"
    assert 5 == await service.database.fetch_value(counted, account_id)
    # A new code has all tries, and the old one is gone.
    new = await tokens.create(RESET_CODE, owner, now)
    assert 0 == await service.database.fetch_value(counted, account_id)
    assert await reset.set_hash(await tokens.present_code(RESET_CODE, new, account_id, now), "new", now)


async def test_no_more_guesses_than_tries_are_compared_when_they_come_at_once(service: Service, tokens: OneTimeTokens) -> None:
    owner, now = await new_owner(service), service.clock()
    await tokens.create(RESET_CODE, owner, now)
    presented = await asyncio.gather(
        *(tokens.present_code(RESET_CODE, "123456", str(owner.account_id), now) for _ in range(20))
    )
    assert 5 == sum(bool(one.digests) for one in presented)


@pytest.mark.parametrize("typed", [" {}", "{0:.3}-{0:.0}{1}", "{0:.3} {1}\n", "wide"])
async def test_a_code_may_be_typed_with_spaces_and_hyphens_and_in_any_width(
    service: Service, tokens: OneTimeTokens, reset: Reset, typed: str
) -> None:
    owner, now = await new_owner(service), service.clock()
    code = await tokens.create(RESET_CODE, owner, now)
    wide = "".join(chr(ord(digit) + 0xFEE0) for digit in code)
    text = wide if typed == "wide" else typed.format(code, code[3:])
    assert await reset.set_hash(await tokens.present_code(RESET_CODE, text, str(owner.account_id), now), "x", now)


@pytest.mark.parametrize("typed", ["", "12345", "1234567", "12345a", "-" * 100_000, "\x00", "\u0661" * 6])
async def test_what_cannot_be_a_code_is_refused_and_counted(
    service: Service, tokens: OneTimeTokens, reset: Reset, typed: str
) -> None:
    owner, now = await new_owner(service), service.clock()
    await tokens.create(RESET_CODE, owner, now)
    assert not await reset.set_hash(await tokens.present_code(RESET_CODE, typed, str(owner.account_id), now), "x", now)
    counted = "SELECT tries FROM authmint.one_time_tokens WHERE account_id = $1"
    assert 1 == await service.database.fetch_value(counted, owner.account_id)


class CountingDatabase(Database):
    """Counts the statements that reach the database."""

    def __init__(self, database: Database) -> None:
        super().__init__(size=1)
        self._database, self.statements = database, 0

    async def fetch_value(self, statement: str, *values: object) -> Any:
        self.statements += 1
        return await self._database.fetch_value(statement, *values)

    async def execute(self, statement: str, *values: object) -> None:
        self.statements += 1
        await self._database.execute(statement, *values)


async def test_the_same_statements_are_sent_whatever_is_wrong(service: Service) -> None:
    """Otherwise the time of a response would tell whether an account has a code, or a link exists."""
    database = CountingDatabase(service.database)
    tokens, reset = OneTimeTokens(database, KEYS), Reset(database)
    owner, without, now = await new_owner(service), await new_owner(service), service.clock()
    link, code = await tokens.create(RESET, owner, now), await tokens.create(RESET_CODE, owner, now)
    expired = await tokens.create(RESET, owner, now - 7200)

    async def cost(present: Callable[[], Awaitable[PresentedToken]]) -> int:
        before = database.statements
        await reset.set_hash(await present(), "x", now)
        return database.statements - before

    def presented(text: str) -> Callable[[], Awaitable[PresentedToken]]:
        async def present() -> PresentedToken:
            return tokens.present(RESET, text)

        return present

    costs = [
        await cost(presented(text)) for text in ("malformed", FORGERIES["a value that was changed"](link, ""), expired, link)
    ]
    assert [1, 1, 1, 1] == costs
    typed = (("x", owner), ("000000", without), (code, without), ("000000", Owner(account_id=str(uuid.uuid4()))), (code, owner))
    costs = [await cost(partial(tokens.present_code, RESET_CODE, text, str(who.account_id), now)) for text, who in typed]
    assert [2, 2, 2, 2, 2] == costs


async def test_a_dump_of_the_table_opens_nothing_and_confirms_no_guess(
    service: Service, tokens: OneTimeTokens, reset: Reset
) -> None:
    owner, now = await new_owner(service), service.clock()
    small = Kind(name="small", lifetime=600, form=Code(digits=3))
    link, code = await tokens.create(RESET, owner, now), await tokens.create(small, owner, now)
    rows = await service.database.fetch_all("SELECT * FROM authmint.one_time_tokens WHERE account_id = $1", owner.account_id)
    dump = repr([tuple(row) for row in rows])
    value = decode_base64url(link[5:-6])[:20]
    for secret in (link, link[5:32], repr(value)[2:-1], value.hex()):
        assert secret not in dump
    # What is stored is no value that can be presented.
    for row in rows:
        body = "amlt_" + encode_base64url(row["digest"][:20] + uuid.UUID(str(owner.account_id)).bytes)
        assert not await reset.use(tokens.present(RESET, body + checksum(body)), now)
    # All codes can be tried: with the key one is found, without it none.
    digests = {bytes(row["digest"]) for row in rows}

    def fields(guess: int) -> bytes:
        parts = (b"small", b"account", uuid.UUID(str(owner.account_id)).bytes, f"{guess:03}".encode())
        return b"".join(len(part).to_bytes(2) + part for part in parts)

    derived = KEYS.derive("one-time/v1")[1]
    found = [guess for guess in range(1000) if hmac.digest(derived, fields(guess), "sha256") in digests]
    assert [int(code)] == found
    for guess in range(1000):
        for key in (b"", bytes(32), b"one-time/v1"):
            assert hmac.digest(key, fields(guess), "sha256") not in digests
        assert hashlib.sha256(fields(guess)).digest() not in digests
        assert hashlib.sha256(f"{guess:03}".encode()).digest() not in digests


async def test_values_outlive_a_rotation_of_the_keys_and_end_with_their_key(service: Service, reset: Reset) -> None:
    owner, now = await new_owner(service), service.clock()
    old, new = (secrets.token_bytes(KEY_BYTES) for _ in range(2))
    first, second = await OneTimeTokens(service.database, SecretKeys({1: old})).create(RESET, owner, now), ""
    rotated = OneTimeTokens(service.database, SecretKeys({2: new, 1: old}))
    second = await rotated.create(RESET, owner, now)
    third = await OneTimeTokens(service.database, SecretKeys({1: old})).create(RESET, owner, now)
    ids = "SELECT array_agg(key_id ORDER BY key_id) FROM authmint.one_time_tokens WHERE account_id = $1"
    assert [1, 1, 2] == await service.database.fetch_value(ids, owner.account_id)
    assert await reset.use(rotated.present(RESET, first), now)
    last = OneTimeTokens(service.database, SecretKeys({2: new}))
    assert not await reset.use(last.present(RESET, third), now)
    assert await reset.use(last.present(RESET, second), now)


async def test_values_go_with_their_account_and_their_client(service: Service, tokens: OneTimeTokens) -> None:
    owner, client, now = await new_owner(service), await service.add_client(), service.clock()
    await tokens.create(RESET, owner, now)
    await tokens.create(REGISTRATION, Owner(client_id=client.client_id), now)
    await service.database.execute("DELETE FROM authmint.accounts WHERE id = $1", owner.account_id)
    await service.database.execute("DELETE FROM authmint.clients WHERE client_id = $1", client.client_id)
    count = "SELECT count(*) FROM authmint.one_time_tokens WHERE account_id = $1 OR client_id = $2"
    assert 0 == await service.database.fetch_value(count, owner.account_id, client.client_id)


async def test_a_code_needs_an_account_and_an_owner_is_one(tokens: OneTimeTokens) -> None:
    with pytest.raises(ValueError, match="a code is for an account"):
        await tokens.create(RESET_CODE, Owner(client_id="orders"), 0)
    with pytest.raises(ValueError, match="not to both"):
        Owner(account_id=str(uuid.uuid4()), client_id="orders")
    with pytest.raises(TypeError):
        tokens.present(RESET_CODE, "123456")
    with pytest.raises(TypeError):
        await tokens.present_code(RESET, "123456", str(uuid.uuid4()), 0)


def test_a_derived_key_is_the_one_of_rfc_5869() -> None:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    keys = SecretKeys({7: secrets.token_bytes(KEY_BYTES), 3: secrets.token_bytes(KEY_BYTES)})
    derived = keys.derive("one-time/v1")
    assert [7, 3] == list(derived)
    assert 7 == derived.current_id
    for key_id, key in keys.items():
        assert HKDF(SHA256(), 32, None, b"one-time/v1").derive(key) == derived[key_id]
    assert keys.derive("cursor/v1")[7] != derived[7]


def test_a_value_is_not_in_the_text_form_of_what_holds_it() -> None:
    assert "digests" not in repr(PresentedToken("a", (b"digest",), Owner()))
