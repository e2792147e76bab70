"""The document of a revocation list: which tokens it refuses, what is no list, and how one list follows another. Pure."""

import hashlib
import random
import sys
from array import array
from typing import Any

import pytest

from authmint import InvalidToken, Principal
from authmint.claims import MAX_EPOCH, read_claims
from authmint.jose import encode_base64url
from authmint.revocation_list import RevocationList, accept_list
from authmint.revoked_entries import BELOW_SECONDS, MAX_MINUTE, Below, Packs, RevokedEntries, entry_of
from tests.library.conftest import ISSUER, NOW, Issuer
from tests.library.web import MINUTE, pack

SERIAL = NOW * 1000 + 250


def entry(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:8]


def members(**changes: Any) -> dict[str, Any]:
    """A good document, with some members changed; a change to `...` leaves one out."""
    known = {"iss": ISSUER, "iat": SERIAL // 1000, "serial": SERIAL} | changes
    return {name: value for name, value in known.items() if value is not ...}


def read(**changes: Any) -> RevocationList:
    return RevocationList.from_claims(members(**changes), issuer=ISSUER)


def token(issuer: Issuer, **changes: Any) -> Principal:
    claims = issuer.claims(**({"epoch": 1000} | changes))
    return Principal.from_claims(read_claims(claims), claims)


def test_the_tokens_of_a_listed_session_are_refused_and_of_no_other(issuer: Issuer) -> None:
    entries = read(sessions={str(MINUTE): pack("one", "two"), str(MINUTE + 1): pack("three")}).entries
    assert ["revoked"] * 3 == [entries.reason(token(issuer, sid=sid)) for sid in ("one", "two", "three")]
    assert [None] * 2 == [entries.reason(token(issuer, sid=sid)) for sid in ("four", ...)]
    assert entries.reason(token(issuer, sid="four", jti="one")) is None


def test_a_listed_token_is_refused(issuer: Issuer) -> None:
    entries = read(tokens={str(MINUTE): pack("7")}).entries
    assert ("revoked", None) == (
        entries.reason(token(issuer, jti="7", sid=...)),
        entries.reason(token(issuer, jti="8", sid="7")),
    )


@pytest.mark.parametrize(
    ("below", "refused", "accepted"),
    [
        ({"all": 1001}, {}, {"epoch": 1001}),
        ({"accounts": {"6f1c": 1001}}, {}, {"sub": "other"}),
        ({"clients": {"spa": 1001}}, {"sub": "other"}, {"client_id": "other"}),
        ({"scopes": {"orders:read": 1001}}, {"scope": "a orders:read"}, {"scope": "a"}),
        ({"accounts": {"other": 5}}, {"epoch": ...}, {"epoch": 0}),
    ],
)
def test_a_token_is_refused_that_was_made_before_something_was_taken(
    issuer: Issuer, below: dict[str, Any], refused: dict[str, Any], accepted: dict[str, Any]
) -> None:
    entries = read(below=below).entries
    assert "epoch_revoked" == entries.reason(token(issuer, **refused))
    assert not entries.revokes(token(issuer, **accepted))
    assert not entries.revokes(token(issuer, **{"epoch": 1001, **{k: v for k, v in refused.items() if k != "epoch"}}))


def test_a_token_without_an_epoch_is_good_while_nothing_was_taken(issuer: Issuer) -> None:
    assert not read(sessions={str(MINUTE): pack("one")}, keys=["k"]).entries.revokes(token(issuer, epoch=...))


@pytest.mark.parametrize("epoch", [-1, 1.0, 1.5, MAX_EPOCH + 1, True, None, "1", [], 10**40])
def test_an_epoch_of_another_form_is_no_epoch_in_a_token_or_a_list(issuer: Issuer, epoch: object) -> None:
    with pytest.raises(InvalidToken) as refused:
        read_claims(issuer.claims(epoch=epoch))
    assert "malformed_epoch" == refused.value.reason
    for below in ({"all": epoch}, {"accounts": {"a": epoch}}, {"clients": {"a": epoch}}, {"scopes": {"a": epoch}}):
        with pytest.raises(InvalidToken) as refused:
            read(below=below)
        assert "malformed_list" == refused.value.reason


TWO = sorted([entry("one"), entry("two")])
BAD: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://other.example"},
    "no issuer": {"iss": ...},
    "no serial": {"serial": ...},
    "a serial as text": {"serial": str(SERIAL)},
    "a fraction as serial": {"serial": SERIAL + 0.5},
    "a negative serial": {"iat": -1, "serial": -1},
    "a serial after the year 9999": {"iat": 253_402_300_800, "serial": 253_402_300_800_000},
    "a serial in seconds": {"serial": NOW},
    "no iat": {"iat": ...},
    "a fraction as iat": {"iat": NOW + 0.0},
    "true as iat": {"iat": True, "serial": 1000},
    "since as text": {"since": "0"},
    "since null": {"since": None},
    "a negative since": {"since": -1},
    "a fraction as since": {"since": 1.5},
    "since after the year 9999": {"since": 2**63},
    "sessions as a list": {"sessions": []},
    "sessions null": {"sessions": None},
    "tokens as a text": {"tokens": ""},
    "a pack as a list": {"sessions": {str(MINUTE): [1]}},
    "a truncated pack": {"sessions": {str(MINUTE): encode_base64url(TWO[0] + TWO[1][:-1])}},
    "a pack of seven bytes": {"tokens": {str(MINUTE): encode_base64url(TWO[0][:7])}},
    "an unsorted pack": {"sessions": {str(MINUTE): encode_base64url(TWO[1] + TWO[0])}},
    "an entry twice": {"tokens": {str(MINUTE): encode_base64url(TWO[0] * 2)}},
    "a pack with padding": {"sessions": {str(MINUTE): encode_base64url(TWO[0]) + "="}},
    "a pack in base64": {"sessions": {str(MINUTE): "+/+/+/+/+/8"}},
    "bits left over": {"sessions": {str(MINUTE): "AAAAAAAAAAB"}},
    "a minute as text": {"sessions": {"soon": pack("one")}},
    "a negative minute": {"sessions": {"-1": pack("one")}},
    "a minute with a sign": {"sessions": {"+1": pack("one")}},
    "a minute with a zero before it": {"sessions": {f"0{MINUTE}": pack("one")}},
    "a minute in other digits": {"sessions": {"٣": pack("one")}},
    "a minute after the year 9999": {"sessions": {str(MAX_MINUTE + 1): pack("one")}},
    "no minute": {"sessions": {"": pack("one")}},
    "below as a list": {"below": []},
    "accounts as a list": {"below": {"accounts": ["a"]}},
    "all null": {"below": {"all": None}},
    "keys as a text": {"keys": "k"},
    "a key as a number": {"keys": [1]},
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_list_is_refused_as_a_whole(what: str) -> None:
    with pytest.raises(InvalidToken) as refused:
        read(**({"sessions": {str(MINUTE): pack("one")}} | BAD[what]))
    assert refused.value.reason in {"malformed_list", "wrong_issuer"}


def test_the_last_minute_and_unknown_members_are_good(issuer: Issuer) -> None:
    known = read(
        sessions={str(MAX_MINUTE): pack("one"), "0": ""}, below={"all": MAX_EPOCH, "regions": 1}, later={"number": 7}, others=[]
    )  # fmt: skip
    assert known.entries.revokes(token(issuer, sid="one"))
    assert MAX_EPOCH == known.entries.below.all
    assert RevokedEntries() == read().entries


def test_a_document_that_is_written_is_read_again() -> None:
    known = read(
        since=5, sessions={str(MINUTE): pack(*map(str, range(100)))}, tokens={str(MINUTE): pack("t")}, keys=["b", "a"],
        below={"accounts": {"a": 1}, "clients": {"c": 2}, "scopes": {"s": 3}, "all": 4},
    )  # fmt: skip
    assert known == RevocationList.from_claims(known.to_claims(ISSUER), issuer=ISSUER)
    assert {"iss", "iat", "serial"} == set(read().to_claims(ISSUER))
    assert 107 == len(known.entries)


def test_entries_leave_by_their_own_minute_and_epochs_after_seventy_minutes() -> None:
    entries = read(
        sessions={str(MINUTE): pack("one"), str(MINUTE + 1): pack("two")},
        tokens={str(MINUTE): pack("t")},
        below={"accounts": {"b": NOW * 1000 + 1000}, "all": NOW * 1000},
        keys=["k"],
    ).entries
    assert entries is entries.without_ended(MINUTE * 60 - 1)
    later = entries.without_ended(MINUTE * 60)
    assert ([False, True], 0) == ([entry_of(sid) in later.sessions for sid in ("one", "two")], len(later.tokens))
    below = entries.without_ended(NOW + BELOW_SECONDS).below
    assert below == entries.below
    assert Below(accounts={"b": NOW * 1000 + 1000}) == entries.without_ended(NOW + BELOW_SECONDS + 1).below
    assert frozenset({"k"}) == entries.without_ended(NOW * 2).keys


def test_a_whole_list_replaces_and_a_delta_adds(issuer: Issuer) -> None:
    first = read(sessions={str(MINUTE): pack("one")}, below={"accounts": {"a": 5, "b": 5}, "all": 3}, keys=["k"])
    known = accept_list(None, first, NOW)
    assert first == known
    delta = read(
        serial=SERIAL + 9, since=SERIAL, sessions={str(MINUTE): pack("one", "two"), str(MINUTE + 1): pack("three")},
        tokens={str(MINUTE): pack("t")}, below={"accounts": {"a": 4, "b": 6}, "all": 2}, keys=["j"],
    )  # fmt: skip
    known = accept_list(known, delta, NOW)
    assert read(
        serial=SERIAL + 9, sessions={str(MINUTE): pack("one", "two"), str(MINUTE + 1): pack("three")},
        tokens={str(MINUTE): pack("t")}, below={"accounts": {"a": 5, "b": 6}, "all": 3}, keys=["j", "k"],
    ) == known  # fmt: skip
    # The same once more, as deltas overlap.
    assert known == accept_list(known, delta, NOW)
    assert known.entries is accept_list(known, delta, NOW).entries
    assert read(serial=SERIAL + 10) == accept_list(known, read(serial=SERIAL + 10), NOW)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"serial": SERIAL - 1}, "older_list"),
        ({"serial": SERIAL - 1, "since": SERIAL - 2}, "older_list"),
        ({"serial": SERIAL + 2, "since": SERIAL + 1}, "delta_does_not_fit"),
        ({"iat": NOW + 301, "serial": (NOW + 301) * 1000}, "list_from_the_future"),
    ],
)
def test_a_list_is_ignored_that_would_take_something_back(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidToken) as ignored:
        accept_list(read(), read(**changes), NOW)
    assert reason == ignored.value.reason
    accept_list(read(), read(iat=NOW + 300, serial=(NOW + 300) * 1000), NOW)


def test_the_first_list_must_be_whole() -> None:
    with pytest.raises(InvalidToken):
        accept_list(None, read(since=0), NOW)


def test_any_order_of_deltas_with_repeats_gives_what_the_whole_list_says() -> None:
    random_ = random.Random(24)
    whole = RevokedEntries()
    deltas = []
    for number in range(300):
        written = read(
            sessions={str(MINUTE + random_.randrange(3)): pack(str(number), str(number // 2))},
            below={"accounts": {str(number % 7): number}, **({"all": number} if number % 50 == 0 else {})},
        ).entries
        whole = whole.merged(written)
        deltas.append(written)
    shuffled = deltas * 2
    random_.shuffle(shuffled)
    known = RevokedEntries()
    for delta in shuffled:
        known = known.merged(delta)
    assert whole == known
    assert whole is whole.merged(known)


def test_an_entry_takes_eight_bytes() -> None:
    entries = range(0, 2**64, 2**64 // 10_000)
    packs = Packs({MINUTE: array("Q", entries)})
    assert 8.1 > sys.getsizeof(packs.by_minute[MINUTE]) / len(packs)
    assert packs == Packs.from_member(packs.to_member())
    assert all(one in packs for one in entries[::100])
    assert not any(one + 1 in packs for one in entries[::100])
