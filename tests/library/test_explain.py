"""`authmint explain`: each reason in a sentence, never the signature, and nothing that controls a terminal."""

import io
import json
import secrets
import time
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from authmint import StaticKeySet
from authmint.cli import UsageError, main, parse_token
from authmint.explain import Explanation, explain
from authmint.jose import JWTSigner, SharedSecretKey
from authmint.key_history import KeyHistory, fetch_key_history
from tests.library.conftest import AUDIENCE, ISSUER, NOW, Issuer
from tests.library.web import publish, web

pytestmark = pytest.mark.anyio

SECRET = secrets.token_bytes(32)


async def explained(issuer: Issuer, token: str, now: float = NOW) -> Explanation:
    return await explain(token, issuer=ISSUER, audience=AUDIENCE, keys=StaticKeySet(issuer.jwks), clock=lambda: now)


def failed(found: Explanation) -> dict[str, str]:
    return {check.name: check.message for check in found.checks if check.passed is False}


async def test_a_good_token_passes_every_check(issuer: Issuer) -> None:
    found = await explained(issuer, issuer.token())
    assert found.is_valid
    assert ["form", "type", "signature", "claims", "issuer", "audience", "time"] == [check.name for check in found.checks]
    assert "It expires in 5 minutes." == found.checks[-1].message


async def test_each_fault_is_explained_in_a_sentence_with_the_values(issuer: Issuer) -> None:
    other = Issuer()
    faults = {
        issuer.token(exp=NOW - 180): ("time", "It expired 3 minutes ago"),
        issuer.token(aud="orders-eu"): ("audience", "The audience is orders-eu, you are orders."),
        issuer.token(iss="https://other.example"): ("issuer", "you trust https://auth.example"),
        issuer.token(iat=NOW + 7200, exp=NOW + 7300): ("time", "issued 2 hours in the future"),
        issuer.token(nbf=NOW + 50): ("time", "valid in 50 seconds"),
        issuer.token(exp=NOW + 20 * 86_400): ("time", "It lives 20 days"),
        issuer.token(typ="JWT"): ("type", "Its typ is jwt"),
        issuer.token(jti=...): ("claims", "The claim jti is missing."),
        issuer.token(cnf={"jkt": "x"}): ("claims", "The claim cnf binds it to a key, whose proof a service cannot check."),
        issuer.token(exp=NOW - 180.5): ("time", "It expired 3 minutes ago"),
        issuer.token(sub=7): ("claims", "The claim sub is not of the right form."),
        other.token(): ("signature", f"has no key {other.key.kid}"),
        JWTSigner(SharedSecretKey(SECRET, kid=issuer.key.kid)).sign(issuer.claims()): ("signature", "for another algorithm"),
        JWTSigner(SharedSecretKey(SECRET)).sign(issuer.claims()): ("signature", "names no key"),
        issuer.token()[:-4] + "AAAA": ("signature", "was changed"),
        "a.b": ("form", "three parts"),
        "é.b.c": ("form", "ASCII"),
        "": ("form", "three parts"),
        "x" * 9000: ("form", "longer than 8192"),
    }
    for token, (name, words) in faults.items():
        found = await explained(issuer, token)
        assert words in failed(found).get(name, "nothing failed"), (name, words, found.checks)
        assert not found.is_valid


async def test_without_an_issuer_or_an_audience_their_checks_are_left_out(issuer: Issuer) -> None:
    found = await explain(issuer.token(), issuer=None, audience=None, keys=None, clock=lambda: NOW)
    assert {"signature", "issuer", "audience"} == {check.name for check in found.checks if check.passed is None}
    assert not found.is_valid


HISTORY: dict[str, Any] = {
    "active": {"published_at": NOW - 900, "active_from": NOW - 300},
    "announced to retire": {"retired_at": NOW + 60, "withdrawn_at": NOW + 900},
    "retired": {"retired_at": NOW - 60, "withdrawn_at": NOW + 900},
    "withdrawn": {"retired_at": NOW - 900, "withdrawn_at": NOW - 60},
    "revoked": {"retired_at": NOW - 900, "revoked_at": NOW - 60},
    "nonsense": {"retired_at": "yesterday", "revoked_at": True, "withdrawn_at": -1},
    "huge": {"retired_at": 10**30},
}


def test_the_end_of_a_key_is_described_from_the_issuers_history() -> None:
    junk: list[Any] = [7, None, {}, {"kid": 7}, {"kid": []}]
    history = KeyHistory.read({"keys": [*junk, *({"kid": kid, **times} for kid, times in HISTORY.items())]})
    described = {kid: end for kid in (*HISTORY, "unknown") if (end := history.describe_end(kid, NOW))}
    minute_ago, earlier = (f"{datetime.fromtimestamp(NOW - ago, UTC):%Y-%m-%d %H:%M UTC}" for ago in (60, 900))
    assert {
        "retired": f"was retired on {minute_ago}",
        "withdrawn": f"was retired on {earlier} and withdrawn on {minute_ago}",
        "revoked": f"was revoked on {minute_ago}",
    } == described
    useless: list[dict[str, Any]] = [{}, {"keys": 7}, {"keys": {}}]
    for bad in useless:
        assert KeyHistory.read(bad).describe_end("retired", NOW) is None


async def test_an_issuer_without_a_key_history_leaves_the_explanation_as_it_is(issuer: Issuer) -> None:
    async with web() as site:
        publish(site, issuer)
        other = Issuer().token(iss=site.url)
        keys = StaticKeySet(issuer.jwks)
        found = await explain(
            other, issuer=site.url, audience=AUDIENCE, keys=keys, history=partial(fetch_key_history, site.url),
            clock=lambda: NOW,
        )  # fmt: skip
    assert "it was retired, or the token is another issuer's" in failed(found)["signature"]


def test_a_token_is_read_from_a_header_line() -> None:
    for text in ("a.b.c", "Bearer a.b.c", "Authorization: Bearer a.b.c\r\n", "  a.b.c\n"):
        assert "a.b.c" == parse_token(text)


def test_a_token_is_read_from_a_token_response() -> None:
    assert "a.b.c" == parse_token('{"refresh_token": "r", "access_token": "a.b.c"}\n')
    for text in ('{"token": "a.b.c"}', '{"access_token": 7}', '{"access_token": "a.b.c"', " {}"):
        with pytest.raises(UsageError, match="has no access_token") as refused:
            parse_token(text)
        assert "a.b.c" not in str(refused.value)


@pytest.mark.parametrize(
    ("claims", "options", "last"),
    [
        ({}, ["--issuer", ISSUER, "--audience", AUDIENCE], "A service would accept it."),
        ({"aud": "billing"}, ["--issuer", ISSUER, "--audience", AUDIENCE], "A service would refuse it."),
        ({"aud": "billing"}, ["--audience", AUDIENCE], "A service would refuse it."),
        ({}, ["--issuer", ISSUER], "No check failed, but those with -- were not made: see their lines, "),
        ({}, [], "No check failed, but those with -- were not made: see their lines, "),
    ],
)
def test_the_last_sentence_says_one_thing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], claims: dict[str, Any], options: list[str], last: str
) -> None:
    issuer = Issuer()
    file, jwks = tmp_path / "token", tmp_path / "jwks.json"
    now = int(time.time())
    file.write_text(issuer.token(**{"iat": now, "exp": now + 60} | claims))
    jwks.write_text(json.dumps(issuer.jwks))
    status = main(["explain", str(file), "--jwks-file", str(jwks), *options])
    assert (0 if last.startswith("A service would accept") else 1) == status
    assert capsys.readouterr().out.splitlines()[-1].startswith(last)


def test_the_command_reads_a_file_or_standard_input_and_never_shows_the_signature(
    issuer: Issuer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps(issuer.jwks))
    token = issuer.token(exp=NOW, sub="\x1b[31mred")
    settings = ["--issuer", ISSUER, "--audience", AUDIENCE, "--jwks-file", str(jwks)]
    file = tmp_path / "token"
    file.write_text(f"{token}\n")
    assert 1 == main(["explain", str(file), *settings])
    text = capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO(f"Authorization: Bearer {token}\n"))
    assert 1 == main(["explain", "-", "--json", *settings])
    answer = capsys.readouterr().out
    found = json.loads(answer)
    assert found["valid"] is False
    assert {"name", "passed", "message"} == set(found["checks"][0])
    for said in (text, answer):
        assert token.split(".")[2] not in said
        assert "\x1b" not in said


def test_on_a_terminal_the_output_is_in_colour(
    issuer: Issuer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps(issuer.jwks))
    file = tmp_path / "token"
    file.write_text(issuer.token(aud="billing"))
    arguments = ["explain", str(file), "--issuer", ISSUER, "--audience", AUDIENCE, "--jwks-file", str(jwks)]
    main(arguments)
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    main(arguments)
    text = capsys.readouterr().out
    assert "\x1b[31mNO\x1b[0m  audience" in text
    assert "\x1b[32mok\x1b[0m  issuer" in text


@pytest.mark.parametrize(
    "arguments", [[], ["explain"], ["explain", "-", "--issuer", "ftp://x"], ["explain", "\0"], ["nonsense"]]
)
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a.b.c" if "-" in arguments else " \n"))
    try:
        status = main(arguments)
    except SystemExit as ended:
        status = int(ended.code or 0)
    assert 2 == status
    assert capsys.readouterr().err


@pytest.mark.parametrize("of", ["short", "long"])
def test_a_token_as_an_argument_is_refused_and_not_repeated(
    issuer: Issuer, capsys: pytest.CaptureFixture[str], of: str
) -> None:
    """Arguments are public: other users of the computer can list them, and shells keep them in a history."""
    token = issuer.token(x="x" * (5000 if of == "long" else 1))
    assert 2 == main(["explain", token])
    error = capsys.readouterr().err
    assert "is never an argument" in error
    assert token not in error


def test_the_command_reports_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (0, f"authmint {version('authmint')}\n") == (ended.value.code, capsys.readouterr().out)
