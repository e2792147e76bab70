"""Every code that the service raises has one sentence, and a translation needs no change of code."""

import ast
import gettext
import re
import string
import struct
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path

import pytest

from authmint_service.errors import AlreadyExists, InvalidValue
from authmint_service.sentences import RULES, SENTENCES, sentence_for, sentence_for_rule

SOURCES = Path(__file__).resolve().parents[2] / "service/src/authmint_service"
CALLS = {"InvalidValue", "AlreadyExists", "sentence_for"}
CLIENT_RULES = re.compile(r'"([a-z_]+)", "([a-z_]+)", (?:\{|limits)')


def calls() -> Iterator[tuple[str, str, set[str]]]:
    """Yield the place, the code and the names of the values of every sentence that the service uses."""
    for path in sorted(SOURCES.rglob("*.py")):
        if path.name == "sentences.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS and node.args:
                place, (code, *_) = f"{path.name}:{node.lineno}", node.args
                if isinstance(code, ast.Constant):
                    yield place, str(code.value), {str(one.arg) for one in node.keywords} - {"field"}


def values_of(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


def test_every_code_in_the_service_has_a_sentence_with_its_values() -> None:
    """A code is a literal where it is raised: then programs, translators and this test can find it."""
    wrong = [place for place, code, given in calls() if code not in SENTENCES or not values_of(SENTENCES[code]) <= given]
    assert [] == wrong, "add the code and its sentence to service/src/authmint_service/sentences.py, and give its values"


def test_every_sentence_is_used() -> None:
    client = (SOURCES / "clients" / "client.py").read_text()
    used = {code for _, code, _ in calls()} | {f"{field}_{rule}" for field, rule in CLIENT_RULES.findall(client)}
    used |= set(re.findall(r'problem_response\(\d+, "(\w+)"', "".join(path.read_text() for path in SOURCES.rglob("*.py"))))
    assert set() == set(SENTENCES) - used


@pytest.mark.parametrize("text", [*SENTENCES.values(), *RULES.values()])
def test_a_sentence_is_plain_text_for_people(text: str) -> None:
    assert text.isprintable()
    assert text[0].isupper() or text.startswith(("{", "--"))
    # A command to copy is the end of its sentence.
    assert text.endswith((".", "}")) or "authmint-service" in text.rpartition(": ")[2]


def test_codes_are_field_and_rule() -> None:
    assert all(re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", code) for code in SENTENCES)
    assert all(re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", rule) for rule in RULES)
    assert all("field" in values_of(sentence) for sentence in RULES.values())


def test_an_error_carries_code_field_and_values() -> None:
    error = InvalidValue("password_too_short", field="password", minimum=15)
    assert ("password_too_short", "password", {"minimum": 15}) == (error.code, error.field, error.values)
    assert "The password is too short: it needs 15 characters at least." == str(error)
    other = error.about("new_password")
    assert ("new_password", str(error), error.code) == (other.field, str(other), other.code)
    assert isinstance(other, InvalidValue)
    assert not isinstance(AlreadyExists("kid_taken", field="kid", kid="x"), InvalidValue)


def mo_file(messages: Mapping[str, str]) -> BytesIO:
    """Return a file as `msgfmt` makes it."""
    pairs = sorted({"": "Content-Type: text/plain; charset=UTF-8\n", **messages}.items())
    offset, tables, texts = 28 + 16 * len(pairs), (list[bytes](), list[bytes]()), b""
    for side in (0, 1):
        for pair in pairs:
            text = pair[side].encode()
            tables[side].append(struct.pack("<2I", len(text), offset + len(texts)))
            texts += text + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0)
    return BytesIO(head + b"".join(tables[0]) + b"".join(tables[1]) + texts)


def test_a_second_language_is_one_file() -> None:
    german = gettext.GNUTranslations(
        mo_file(
            {
                SENTENCES["password_too_short"]: "Das Passwort ist zu kurz: mindestens {minimum} Zeichen.",
                RULES["missing"]: "{field} fehlt.",
            }
        )
    )
    error = InvalidValue("password_too_short", field="password", minimum=15)
    assert "Das Passwort ist zu kurz: mindestens 15 Zeichen." == error.sentence(german.gettext)
    assert "wait fehlt." == sentence_for_rule("missing", "wait", {}, german.gettext)
    assert sentence_for("wrong_password", {}) == sentence_for("wrong_password", {}, german.gettext), (
        "what is not translated is English"
    )
