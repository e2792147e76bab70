"""Which service a command speaks to: the database it is given, the data folder it is given, or the one that runs."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import pytest

from authmint_service.commands.service_settings import load_migration_settings, load_service_settings
from authmint_service.commands.settings import show_settings
from authmint_service.errors import SettingsError
from authmint_service.running_services import RunningService, listed, running_services
from authmint_service.serving import listed_for_commands
from authmint_service.settings import load_settings
from tests.service.test_settings import GOOD

OTHER = "1:" + GOOD[2:][::-1].lstrip("=").ljust(44, "=")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, as a user for whom no service is listed."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@contextmanager
def running(data_dir: Path, *, ephemeral: bool = False, **settings: object) -> Iterator[None]:
    (data_dir / "postgres").mkdir(parents=True)
    started_with = load_settings(_env_file=None, environment="development", data_dir=data_dir, **settings)
    with listed_for_commands(started_with, ephemeral=ephemeral):
        yield


def test_without_a_service_a_command_is_refused_and_creates_nothing(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"^No development service runs\. Start one with `authmint-service dev`"):
        load_service_settings(None)
    with pytest.raises(SettingsError, match=r"^There is no database in .*/nothing\. Make one with: authmint-service dev"):
        load_service_settings(folder / "nothing")
    assert [] == list(folder.iterdir())


def test_the_one_service_that_runs_is_used_with_the_settings_that_it_has_and_that_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # What a newcomer writes who is told that settings are missing.
    (folder / ".env").write_text(f"AUTHMINT_ISSUER=https://other.example\nAUTHMINT_KEY_ENCRYPTION_KEYS={OTHER}\n")
    with running(folder.parent / "data", port=9000, signing_algorithm="RS256"):
        settings = load_service_settings(None)
    assert ("http://127.0.0.1:9000", "RS256", folder.parent / "data") == (
        settings.issuer_url, settings.signing_algorithm, settings.data_dir,
    )  # fmt: skip
    own = load_settings(_env_file=None, environment="development", data_dir=folder.parent / "data")
    assert dict(own.encryption_keys) == dict(settings.encryption_keys)
    printed = capsys.readouterr()
    assert printed.err == f"Speaking to the development service http://127.0.0.1:9000 (data in {folder.parent / 'data'}).\n"
    assert printed.out == ""
    with pytest.raises(SettingsError, match="No development service runs"):
        load_service_settings(None)


def test_of_several_services_one_has_to_be_chosen(folder: Path) -> None:
    with running(folder / "one", port=9001), running(folder / "two", port=9002):
        with pytest.raises(SettingsError) as refused:
            load_service_settings(None)
        lines = str(refused.value).splitlines()
        assert lines[0] == "Several development services run. Choose one with --data-dir:"
        assert lines[1:] == [f"  http://127.0.0.1:900{n}  --data-dir {folder / name}" for n, name in ((1, "one"), (2, "two"))]
        assert "http://127.0.0.1:9002" == load_service_settings(Path("two")).issuer_url


def test_the_data_folder_of_the_environment_or_of_the_option_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (folder / name / "postgres").mkdir(parents=True)
    monkeypatch.setenv("AUTHMINT_DATA_DIR", "one")
    with running(folder.parent / "another"):
        assert folder / "one" == load_service_settings(None).data_dir
        settings = load_service_settings(Path("two"))
    assert (folder / "two", True) == (settings.data_dir, settings.is_development)
    monkeypatch.setenv("AUTHMINT_ENVIRONMENT", "production")
    with pytest.raises(SettingsError, match="AUTHMINT_ISSUER is missing"):
        load_service_settings(None)


def test_the_database_of_the_environment_comes_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text("AUTHMINT_DATABASE_URL=postgresql://db.example/authmint\nAUTHMINT_ENVIRONMENT=development\n")
    with running(folder.parent / "data"):
        monkeypatch.setenv("AUTHMINT_DATA_DIR", str(folder / "unused"))
        settings = load_service_settings(None)
        assert settings.database_url is not None
        assert "postgresql://db.example/authmint" == settings.database_url.get_secret_value()
        with pytest.raises(SettingsError, match="AUTHMINT_DATABASE_URL is set, and --data-dir names another"):
            load_service_settings(folder.parent / "data")


def test_a_service_whose_secrets_are_in_its_environment_needs_them_in_that_of_the_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = folder.parent / "keys"
    keys.write_text(OTHER)
    with running(folder.parent / "data", key_encryption_keys=GOOD, refresh_token_keys=OTHER):
        (file,) = (folder.parent / "state/authmint/services").iterdir()
        assert 0o600 == file.stat().st_mode & 0o777
        assert GOOD[2:-1] not in file.read_text()
        assert OTHER[2:-1] not in file.read_text()
        without = load_service_settings(None)
        with pytest.raises(SettingsError, match="was started with AUTHMINT_KEY_ENCRYPTION_KEYS"):
            _ = without.encryption_keys
        assert not (folder.parent / "data/secrets.env").exists()
        monkeypatch.setenv("AUTHMINT_KEY_ENCRYPTION_KEYS", GOOD)
        monkeypatch.setenv("AUTHMINT_REFRESH_TOKEN_KEYS_FILE", str(keys))
        settings = load_service_settings(None)
    assert (GOOD, OTHER) == tuple(
        secret.get_secret_value() for secret in (settings.key_encryption_keys, settings.refresh_token_keys) if secret
    )


def test_an_ephemeral_service_is_found_by_its_data_folder_alone(folder: Path) -> None:
    with running(folder.parent / "data", port=9000), running(folder.parent / "gone", port=9001, ephemeral=True):
        assert "http://127.0.0.1:9000" == load_service_settings(None).issuer_url
        assert "http://127.0.0.1:9001" == load_service_settings(folder.parent / "gone").issuer_url
        assert "http://127.0.0.1:9001" == load_service_settings(Path("../gone")).issuer_url
    with running(folder.parent / "alone", port=9002, ephemeral=True):
        with pytest.raises(SettingsError) as refused:
            load_service_settings(None)
        assert [
            "Only ephemeral development services run. Choose one with --data-dir:",
            f"  http://127.0.0.1:9002  --data-dir {folder.parent / 'alone'}",
        ] == str(refused.value).splitlines()


def test_the_settings_shown_are_those_of_the_service_a_command_speaks_to(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def shown(data_dir: Path | None = None) -> dict[str, tuple[str, str]]:
        show_settings(data_dir=data_dir, as_json=True)
        return {row["variable"]: (row["value"], row["source"]) for row in json.loads(capsys.readouterr().out)}

    with running(folder.parent / "data", port=9000, key_encryption_keys=GOOD):
        settings = shown()
        assert ("9000", "the service") == settings["AUTHMINT_PORT"]
        assert ("http://127.0.0.1:9000", "default") == settings["AUTHMINT_ISSUER"]
        assert ("set", "the service") == settings["AUTHMINT_KEY_ENCRYPTION_KEYS"]
        assert ("not set", "default") == settings["AUTHMINT_REFRESH_TOKEN_KEYS"]
        with running(folder.parent / "other", port=9001):
            assert ("9001", "the service") == shown(folder.parent / "other")["AUTHMINT_PORT"]
            with pytest.raises(SettingsError, match="Several development services run"):
                shown()
        monkeypatch.setenv("AUTHMINT_DATABASE_URL", "postgresql://db.example/authmint")
        monkeypatch.setenv("AUTHMINT_ISSUER", "https://auth.example")
        assert ("https://auth.example", "environment") == shown()["AUTHMINT_ISSUER"]
    monkeypatch.delenv("AUTHMINT_DATABASE_URL")
    assert ("https://auth.example", "environment") == shown()["AUTHMINT_ISSUER"], "none runs: those that serve would have"
    with pytest.raises(
        SettingsError, match=r"^No service runs with its data in .*/data\. Start one with: authmint-service dev"
    ):
        shown(folder.parent / "data")


def test_a_migration_without_a_database_is_refused_but_in_development(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for environment in ("", "production"):
        monkeypatch.setenv("AUTHMINT_ENVIRONMENT", environment)
        with pytest.raises(SettingsError, match=r"^AUTHMINT_DATABASE_URL is missing\."):
            load_migration_settings()
    assert [] == list(folder.iterdir())
    monkeypatch.setenv("AUTHMINT_ENVIRONMENT", "development")
    assert Path(".authmint") == load_migration_settings().data_dir
    monkeypatch.delenv("AUTHMINT_ENVIRONMENT")
    monkeypatch.setenv("AUTHMINT_DATA_DIR", "data")
    assert Path("data") == load_migration_settings().data_dir
    monkeypatch.setenv("AUTHMINT_ENVIRONMENT", "production")
    with pytest.raises(SettingsError, match=r"^AUTHMINT_DATABASE_URL is missing\."):
        load_migration_settings()


def test_a_misspelt_database_is_not_replaced_by_the_development_service_that_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kind: a default instead of what was meant."""
    for service in (nullcontext(), running(folder.parent / "data")):
        with service, monkeypatch.context() as patch:
            patch.setenv("AUTHMINT_DATABSE_URL", "postgresql://db.example/authmint")
            for load in (lambda: load_service_settings(None), load_migration_settings):
                with pytest.raises(SettingsError, match="Did you mean AUTHMINT_DATABASE_URL"):
                    load()


LIST = """
import os, sys
from authmint_service.running_services import RunningService, listed

with listed(RunningService(url="http://127.0.0.1:9000", data_dir="/nowhere", pid=os.getpid(), settings={}, secrets=[])):
    print("listed", flush=True)
    sys.stdin.read()
"""


def test_a_service_that_was_killed_is_no_longer_listed_and_its_file_is_removed(folder: Path) -> None:
    files = folder.parent / "state/authmint/services"
    with subprocess.Popen([sys.executable, "-c", LIST], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "listed\n" == process.stdout.readline()
        assert [process.pid] == [service.pid for service in running_services()]
        process.send_signal(signal.SIGKILL)
    assert 1 == len(list(files.iterdir()))
    assert [] == running_services()
    assert [] == list(files.iterdir())


def test_files_of_another_version_or_of_no_service_are_ignored(folder: Path) -> None:
    files = folder.parent / "state/authmint/services"
    with ExitStack() as stack:
        service = RunningService(url="http://127.0.0.1:1", data_dir="/a", pid=os.getpid(), settings={}, secrets=[])
        stack.enter_context(listed(service))
        (known,) = files.iterdir()
        known.write_text(json.dumps({"url": "http://127.0.0.1:1"}))
        (files / "service-broken.json").write_text("{")
        (files / "note").write_text("x")
        assert [] == running_services()


def test_a_home_that_cannot_be_written_stops_no_service(folder: Path) -> None:
    (folder.parent / "state").write_text("in the way")
    with running(folder.parent / "data"):
        assert [] == running_services()


def test_a_full_disk_stops_no_service(folder: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_FSIZE, before)
        service = RunningService(url="http://127.0.0.1:1", data_dir="/a", pid=os.getpid(), settings={}, secrets=[])
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        stack.enter_context(listed(service))
        assert [] == running_services()
    assert [] == list((folder.parent / "state/authmint/services").iterdir())


def test_a_running_service_is_found_by_any_name_of_its_folder(folder: Path) -> None:
    (folder / "link").symlink_to(folder.parent / "data")
    with running(folder.parent / "data", port=9000):
        assert "http://127.0.0.1:9000" == load_service_settings(folder / "link").issuer_url
