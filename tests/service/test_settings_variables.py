"""Names of variables are checked, secrets come from a variable or a file, and the documentation is made from the settings."""

import base64
import hashlib
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from authmint import ResourceServer
from authmint_service.errors import SettingsError
from authmint_service.settings import Settings, load_database_settings, load_settings, notes_about_variables, variable_names
from authmint_service.settings.catalogue import list_settings
from authmint_service.settings.group import is_secret, variable
from authmint_service.settings.variables import FOREIGN_NAMES
from tools import settings_docs

RANDOM, FIRST, SECOND = (base64.b64encode(hashlib.sha256(b"key %d of these tests" % n).digest()).decode() for n in range(3))
GOOD, OTHER = f"1:{FIRST}", f"1:{SECOND}"
KEYS = {"AUTHMINT_KEY_ENCRYPTION_KEYS": GOOD, "AUTHMINT_REFRESH_TOKEN_KEYS": OTHER}
URL = "postgresql://user@host/name"
SECRETS = sorted(name for name, field in Settings.model_fields.items() if is_secret(field))
VALUES = {
    "database_url": "postgresql://user:canary@host/name",
    "key_encryption_keys": GOOD,
    "refresh_token_keys": OTHER,
    "shared_secret": RANDOM,
}
"""A good value of each secret that has a form; any other may be any text."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to start in, and the settings that production requires."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTHMINT_ISSUER", "https://auth.example")
    monkeypatch.setenv("AUTHMINT_DATABASE_URL", URL)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def set_all(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    if "AUTHMINT_SHARED_SECRET" in {name.removesuffix("_FILE") for name in variables}:
        variables["AUTHMINT_SIGNING_ALGORITHM"] = "HS256"
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def refusal() -> str:
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert "canary" not in str(raised.value)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_the_secrets_are_those_that_are_named_so() -> None:
    """A new one is found here, so that no one gives a password the type `str`."""
    secret = re.compile(r"secret|password|_keys$|_url$|token$|credential")
    # The breach list gets five digits, and its URL may have no password.
    others = {"password_breach_url", "password_min_length", "password_hash_workers", "password_hash_queue"}
    assert SECRETS == sorted(name for name in Settings.model_fields if secret.search(name) and name not in others)


@pytest.mark.parametrize("field", SECRETS)
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_every_secret_may_come_from_a_file(field: str, end: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, value = variable(field), VALUES.get(field, "some text of a secret")
    (folder / "secret").write_bytes(f"{value}{end}".encode())
    monkeypatch.delenv(name, raising=False)
    set_all(monkeypatch, **{f"{name}_FILE": str(folder / "secret")})
    settings = load_settings()
    assert value == getattr(settings, field).get_secret_value()
    assert value not in f"{settings!r} {settings}"


@pytest.mark.parametrize("field", SECRETS)
def test_a_secret_from_two_places_is_refused(field: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = variable(field)
    (folder / "secret").write_text("canary")
    set_all(monkeypatch, **{name: VALUES.get(field, "text"), f"{name}_FILE": str(folder / "secret")})
    assert f"{name} and {name}_FILE contradict each other. Set one of them." == refusal()
    monkeypatch.delenv(f"{name}_FILE")
    (folder / ".env").write_text(f"{name}_FILE=secret\n")
    assert f"{name} and {name}_FILE contradict each other. Set one of them." == refusal()


@pytest.mark.parametrize("field", SECRETS)
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"), (b"", "names a file that is empty"), (b"\n", "names a file that is empty"),
        (b"canary\xff", "not UTF-8 text"), (b"canary" * 20_000, "more than 65536 bytes"),
    ],
)  # fmt: skip
def test_a_file_that_holds_no_secret_is_named_without_its_path_and_content(
    field: str, content: bytes | None, reason: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = variable(field)
    if content is not None:
        (folder / "canary").write_bytes(content)
    monkeypatch.delenv(name, raising=False)
    set_all(monkeypatch, **{f"{name}_FILE": str(folder / "canary")})
    said = refusal()
    assert said.startswith(f"{name}_FILE ")
    assert reason in said


def test_a_file_of_variables_that_cannot_be_read_is_named(folder: Path) -> None:
    # It can be opened, also by root, and not be read.
    (folder / ".env").symlink_to("/proc/self/mem")
    assert refusal().startswith("The file .env cannot be read: ")


def test_a_folder_in_place_of_a_file_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTHMINT_DATABASE_URL")
    monkeypatch.setenv("AUTHMINT_DATABASE_URL_FILE", str(folder))
    assert "AUTHMINT_DATABASE_URL_FILE cannot be read: Is a directory." == refusal()


def test_a_migration_reads_the_address_from_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTHMINT_DATABASE_URL")
    (folder / "url").write_text("postgresql://host/name\n")
    monkeypatch.setenv("AUTHMINT_DATABASE_URL_FILE", str(folder / "url"))
    url = load_database_settings().database_url
    assert url is not None
    assert "postgresql://host/name" == url.get_secret_value()


MISSPELT = {
    "AUTHMINT_ISSUR": "AUTHMINT_ISSUER", "AUTHMINT_DATABSE_URL": "AUTHMINT_DATABASE_URL",
    "AUTHMINT_REFRESH_GRACE": "AUTHMINT_REFRESH_GRACE_SECONDS", "AUTHMINT_CORS_ORIGIN": "AUTHMINT_CORS_ORIGINS",
    "AUTHMINT_KEY_ENCRYPTION_KEY": "AUTHMINT_KEY_ENCRYPTION_KEYS",
    "AUTHMINT_DATABASE_URL_FILES": "AUTHMINT_DATABASE_URL_FILE", "AUTHMINT_ISSUER_FILE": "AUTHMINT_ISSUER",
}  # fmt: skip


@pytest.mark.parametrize("place", ["environment", ".env"])
@pytest.mark.parametrize(("wrong", "right"), MISSPELT.items())
def test_the_error_about_a_misspelt_name_names_the_right_one(
    place: str, wrong: str, right: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == "environment":
        monkeypatch.setenv(wrong, "canary")
    else:
        (folder / ".env").write_text(f"{wrong}=canary\n")
    location = "" if place == "environment" else " in .env"
    assert f"{wrong}{location} is not a setting. Did you mean {right}?" == refusal()
    with pytest.raises(SettingsError, match="Did you mean"):
        load_database_settings()


@pytest.mark.parametrize("setting", variable_names())
def test_every_name_is_recognised_with_two_letters_swapped(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = f"{setting[:9]}{setting[10]}{setting[9]}{setting[11:]}"
    assert wrong != setting
    monkeypatch.setenv(wrong, "canary")
    assert f"Did you mean {setting}?" in refusal()


def test_all_misspelt_names_are_named_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind: an error that hides the next one."""
    monkeypatch.setenv("AUTHMINT_ACESS_TOKEN_TTL", "60")
    (folder / ".env").write_text("AUTHMINT_PROT=1\n")
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert [
        "AUTHMINT_ACESS_TOKEN_TTL is not a setting. Did you mean AUTHMINT_ACCESS_TOKEN_TTL?",
        "AUTHMINT_PROT in .env is not a setting. Did you mean AUTHMINT_PORT?",
    ] == str(raised.value).splitlines()


def test_a_name_that_is_like_none_is_refused_too_even_when_it_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHMINT_FLUX_CAPACITOR", "")
    assert "AUTHMINT_FLUX_CAPACITOR is not a setting. docs/settings.md lists all settings." == refusal()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTHMINT_AUDIENCE", "orders"), ("AUTHMINT_LEEWAY", "5"), ("AUTHMINT_TEST_CHROMIUM", "/usr/bin/chromium"),
        ("AUTHMINT_PORT", "tcp://10.0.0.1:8000"), ("AUTHMINT_SERVICE_HOST", "10.0.0.1"), ("AUTHMINT_SERVICE_PORT", "8000"),
        ("AUTHMINT_SERVICE_PORT_HTTP", "8000"), ("AUTHMINT_PORT_8000_TCP", "tcp://10.0.0.1:8000"),
        ("AUTHMINT_PORT_8000_TCP_ADDR", "10.0.0.1"), ("AUTHMINT_SERVICE_SERVICE_HOST", "10.0.0.1"),
        ("AUTHMINT_ORDERS_PORT", "tcp://10.0.0.1:80"), ("AUTHMINT", "x"), ("AUTHMINTED_X", "x"), ("ORDERS_ISSUER", "x"),
        ("OTEL_SERVICE_NAME", "x"),
    ],
)  # fmt: skip
def test_names_that_other_programs_read_are_passed_over(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert 8000 == load_settings().port


LINK = "tcp://10.96.0.12:80"


@pytest.mark.parametrize("name", ["AUTHMINT_PORT", "AUTHMINT_INTERNAL_PORT"])
def test_a_setting_that_kubernetes_has_made_of_the_name_of_a_service_is_named_as_such(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kind: a setting that is dropped without a word. It stops nothing: the port that is wanted may be in `.env`."""
    assert [] == notes_about_variables()
    monkeypatch.setenv(name, LINK)
    monkeypatch.setenv("AUTHMINT_SERVICE_PORT", "80")
    (note,) = notes_about_variables()
    assert note.startswith(f"{name} is the address of a Kubernetes Service")
    assert "enableServiceLinks: false" in note
    assert LINK not in note


def test_a_port_from_kubernetes_hides_no_port_of_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHMINT_PORT", LINK)
    (folder / ".env").write_text("AUTHMINT_PORT=9000\n")
    assert 9000 == load_settings().port


def test_the_names_of_the_library_are_known() -> None:
    read = re.findall(r'"([a-z_]+)"', inspect.getsource(ResourceServer.from_env).split("found: dict")[1].split("):")[0])
    assert {"issuer", "audience", "jwks_file"} <= set(read)
    assert {variable(name) for name in read} <= {*variable_names(), *FOREIGN_NAMES}


def test_an_empty_variable_counts_as_not_set_and_the_environment_goes_before_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text("AUTHMINT_PORT=9000\nAUTHMINT_WORKERS=3\nauthmint_host=::1\n")
    monkeypatch.setenv("AUTHMINT_PORT", "")
    monkeypatch.setenv("AUTHMINT_WORKERS", "2")
    settings = load_settings()
    assert (9000, 2, "::1") == (settings.port, settings.workers, settings.host)


@pytest.mark.parametrize("name", settings_docs.FILES)
def test_the_documentation_is_what_the_settings_say(name: str) -> None:
    assert settings_docs.FILES[name]() == (settings_docs.ROOT / name).read_text(encoding="utf-8"), "Run: make docs-settings"


def test_the_documentation_has_every_variable_and_lines_that_fit() -> None:
    for text in (settings_docs.env_example(), settings_docs.reference_page()):
        assert set(variable_names()) <= set(re.findall(r"AUTHMINT_[A-Z_]+", text))
        assert max(map(len, text.splitlines())) <= 200
    assert sorted(Settings.model_fields) == sorted(setting.field for setting in list_settings())
    assert all(setting.title for setting in list_settings())


def test_the_example_starts_once_its_empty_lines_are_filled_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name)
    text = settings_docs.env_example()
    for name in KEYS:
        text = text.replace(f"\n{name}=\n", f"\n{name}={KEYS[name]}\n")
    (folder / ".env").write_text(text)
    assert "https://auth.example" == load_settings().issuer_url


def run_command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    program = "import sys; from authmint_service.cli import main; main(sys.argv[1:])"
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.process
@pytest.mark.slow
def test_the_command_shows_every_setting_its_source_and_no_secret(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTHMINT_DATABASE_URL")
    (folder / ".env").write_text("AUTHMINT_PORT=9000\nAUTHMINT_DATABASE_URL_FILE=url\n")
    (folder / "url").write_text("postgresql://user:canary@host/name")
    done = run_command("settings", "--json")
    assert ("", 0) == (done.stderr, done.returncode)
    shown = {row["variable"]: (row["value"], row["source"]) for row in json.loads(done.stdout)}
    assert {setting.variable for setting in list_settings()} == set(shown)
    assert ("https://auth.example", "environment") == shown["AUTHMINT_ISSUER"]
    assert ("9000", ".env") == shown["AUTHMINT_PORT"]
    assert ("set", ".env, AUTHMINT_DATABASE_URL_FILE") == shown["AUTHMINT_DATABASE_URL"]
    assert ("set", "environment") == shown["AUTHMINT_REFRESH_TOKEN_KEYS"]
    assert ("not set", "default") == shown["AUTHMINT_SHARED_SECRET"]
    assert ("6", "default") == shown["AUTHMINT_DRAIN_SECONDS"]
    monkeypatch.setenv("AUTHMINT_PORT", LINK)
    issuer = os.environ["AUTHMINT_ISSUER"]
    for name in ("AUTHMINT_REFRESH_TOKEN_KEYS", "AUTHMINT_ISSUER"):
        monkeypatch.delenv(name)
    lacking = run_command("settings", "--json")
    assert 0 == lacking.returncode
    missing = ["AUTHMINT_ISSUER", "AUTHMINT_PORT", "AUTHMINT_REFRESH_TOKEN_KEYS"]
    assert missing == sorted(line.split()[0] for line in lacking.stderr.splitlines())
    # The issuer of a development start is none of production's.
    assert "not set" in {row["value"] for row in json.loads(lacking.stdout) if row["variable"] == "AUTHMINT_ISSUER"}
    monkeypatch.delenv("AUTHMINT_PORT")
    monkeypatch.setenv("AUTHMINT_ISSUER", issuer)
    monkeypatch.setenv("AUTHMINT_REFRESH_TOKEN_KEYS", OTHER)
    table = run_command("settings").stdout
    for text in (done.stdout, table):
        assert "canary" not in text
        assert GOOD[2:] not in text
    monkeypatch.setenv("AUTHMINT_ENVIRONMENT", "development")
    assert 0 == run_command("settings").returncode
    assert {"url", ".env"} == {path.name for path in folder.iterdir()}, "to show settings makes no secrets"
    monkeypatch.setenv("AUTHMINT_REFRESH_TOKEN_KEYS", "1:canary")
    done = run_command("settings")
    assert (2, True) == (done.returncode, done.stderr.startswith("AUTHMINT_REFRESH_TOKEN_KEYS is wrong: "))
    assert "canary" not in done.stderr
    assert 2 == run_command("serve").returncode
    monkeypatch.setenv("AUTHMINT_PROT", "canary")
    done = run_command("settings")
    assert (2, "AUTHMINT_PROT is not a setting. Did you mean AUTHMINT_PORT?\n") == (done.returncode, done.stderr)
