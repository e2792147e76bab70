"""A setting that is missing, weak or wrong stops the start with a sentence that names it and does not repeat its value."""

import base64
import hashlib
import inspect
import stat
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from alembic import command
from authmint import jose
from authmint_service.app import create_app
from authmint_service.database import database_url
from authmint_service.errors import SettingsError
from authmint_service.migrations import alembic_config
from authmint_service.settings import DatabaseSettings, Settings, load_settings, load_settings_without_secrets, signing
from authmint_service.settings.group import SettingsGroup

RANDOM, *_ = RANDOMS = [base64.b64encode(hashlib.sha256(b"key %d of these tests" % n).digest()).decode() for n in range(3)]
GOOD, OTHER = (f"1:{key}" for key in RANDOMS[1:])
KNOWN: dict[str, object] = {
    "issuer": "https://auth.example", "database_url": "postgresql://host/name", "key_encryption_keys": GOOD,
    "refresh_token_keys": OTHER,
}  # fmt: skip


def load(**changes: object) -> Settings:
    return load_settings(_env_file=None, **(KNOWN | changes))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("issuer", ""), ("issuer", "http://auth.example"), ("issuer", "auth.example"), ("issuer", "https://a.example?x"),
        ("issuer", "https://u:p@a.example"), ("port", "canary"), ("port", "70000"), ("cors_origins", "*"),
        ("cors_origins", "https://a.example/path"), ("cors_origins", "canary"), ("signing_algorithm", "HS256"),
        ("trusted_proxies", "canary"), ("trusted_proxies", "10.0.0.1/8"), ("trusted_proxies", "0.0.0.0/0"),
        ("trusted_proxies", "none,10.0.0.0/8"),
        ("signing_algorithm", "none"), ("access_token_ttl", "0"), ("access_token_ttl", "inf"), ("refresh_grace_seconds", "121"),
        ("session_ttl", "nan"), ("session_idle_ttl", "99999999999"), ("password_hash_workers", "0"),
        ("password_min_length", "7"),
        ("issuer", "https://u:canary\u2100@a.example"), ("otlp_endpoint", "http://u:canary\u2100@a"),
        ("database_url", "postgresql://u:canary\u2100@h/x"), ("database_url", "postgresql://u:canary/x@h:5432/x"),
        ("database_url", "postgresql://u:12/canary@h/x"), ("database_url", "postgresql://u:12?canary@h/x"),
        ("database_url", "postgresql://u:canary#3@h/x"), ("database_url", "postgresql://u:x@h:canary/x"),
        ("database_url", "postgresql://u:x@h,i:canary/x"), ("database_url", "postgresql://u:canary@x@h/x"),
        ("database_url", "postgresql://u:x@canary,,h/x"), ("database_url", "postgresql://u:x@h:65536/canary"),
        ("database_url", "mysql://canary@host/x"), ("log_level", "canary"), ("environment", "canary"), ("docs", "canary"),
        ("key_encryption_keys", None), ("refresh_token_keys", None), ("key_encryption_keys", ""),
        ("key_encryption_keys", "canary"),
        ("key_encryption_keys", "1:canary"), ("refresh_token_keys", "1:" + base64.b64encode(b"short").decode()),
        ("refresh_token_keys", "1:" + base64.b64encode(b"changeme" * 4).decode()), ("refresh_token_keys", f"{GOOD},{GOOD}"),
        ("refresh_token_keys", "0:" + GOOD[2:]), ("refresh_token_keys", "256:" + GOOD[2:]),
        ("refresh_token_keys", "1:" + "A" * 43), ("key_encryption_keys", "1:" + base64.b64encode(bytes(range(32))).decode()),
        ("refresh_token_keys", "1:" + base64.b64encode(bytes.fromhex("9f3c07d15be8a264") * 4).decode()),
        ("key_encryption_keys", "1:ThisIsMyVerySecretKeyEncryptionKeyForAuthmx="),
        ("refresh_token_keys", "1:" + base64.b64encode(b"password123password123password!!").decode()),
        ("signing_key_rotation_seconds", "3599"), ("signing_rsa_bits", "2047"),
        ("signing_rsa_bits", "4097"), ("shared_secret", "canary" * 6),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named_and_its_value_is_not_repeated(name: str, value: object) -> None:
    with pytest.raises(SettingsError) as raised:
        load(**{name: value})
    assert f"AUTHMINT_{name.upper()}" in str(raised.value)
    assert "canary" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///x", "postgres://u@h/x", "postgresql://u:a%40b@h:65535/x", "postgresql://u:p@[::1]:5432/x",
        "postgresql://u:p@h:1,[::1],i:10000/x", "postgresql://u:p@/x?host=/run/postgresql", "postgresql://%2Frun/x",
        "postgresql://a@h/x?user=b@c", "postgresql://:5432/x",
    ],
)  # fmt: skip
def test_each_form_of_a_database_url_is_accepted(url: str) -> None:
    assert load(database_url=url).database_url is not None


COMMON = list(FREQUENCY_LISTS["passwords"])[:95]


def test_none_of_ninety_five_common_secrets_is_a_shared_secret_however_long_it_is_made() -> None:
    assert 95 == len(COMMON)
    for secret in COMMON:
        for spelling in (secret, (secret * 64)[:64]):
            with pytest.raises(SettingsError, match="AUTHMINT_SHARED_SECRET is wrong"):
                load(signing_algorithm="HS256", shared_secret=spelling)


@pytest.mark.parametrize(
    "secret",
    ["canary", "canary" * 6, "c" * 64, "changeme" * 8, "password123 password123 password!!", bytes(range(32)).hex()],
)
def test_a_shared_secret_that_is_short_or_not_random_is_refused(secret: str) -> None:
    with pytest.raises(SettingsError, match="AUTHMINT_SHARED_SECRET is wrong") as raised:
        load(signing_algorithm="HS256", shared_secret=secret)
    assert secret not in str(raised.value)


def test_a_shared_secret_is_for_hs256_alone() -> None:
    secret = RANDOM
    for spelling in (secret, base64.b64decode(secret).hex()):
        assert spelling.encode() == load(signing_algorithm="HS256", shared_secret=spelling).hmac_secret
    assert load().hmac_secret is None
    with pytest.raises(SettingsError, match="contradict each other"):
        load(shared_secret=secret)


@pytest.mark.parametrize("algorithms", ["HS256", "RS256,none", "RS256,RS256", "rs256"])
def test_algorithms_of_id_tokens_are_those_of_keys_and_each_is_named_once(algorithms: str) -> None:
    with pytest.raises(SettingsError, match="AUTHMINT_ID_TOKEN_ALGORITHMS is wrong"):
        load(id_token_algorithms=algorithms)


def test_each_algorithm_is_one_line_of_keys_that_of_access_tokens_first() -> None:
    assert ("ES256",) == load().signing_algorithms
    assert ("ES256", "RS256") == load(id_token_algorithms="RS256, ES256").signing_algorithms
    assert ("RS256", "ES256") == load(signing_algorithm="RS256", id_token_algorithms="ES256").signing_algorithms


def test_with_a_shared_secret_there_are_no_id_tokens() -> None:
    with pytest.raises(SettingsError, match="AUTHMINT_ID_TOKEN_ALGORITHMS and AUTHMINT_SIGNING_ALGORITHM contradict") as raised:
        load(signing_algorithm="HS256", shared_secret=GOOD[2:], id_token_algorithms="RS256")
    assert GOOD[2:] not in str(raised.value)


def test_lifetimes_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(SettingsError, match="AUTHMINT_SESSION_IDLE_TTL"):
        load(session_idle_ttl=7200, session_ttl=3600)


def test_listeners_on_one_port_are_refused() -> None:
    with pytest.raises(SettingsError, match="AUTHMINT_INTERNAL_PORT"):
        load(host="127.0.0.1", port=9000, internal_host="127.0.0.1", internal_port=9000)
    assert 0 == load(host="127.0.0.1", port=0, internal_host="127.0.0.1", internal_port=0).internal_port


def test_production_needs_a_database_of_its_own_and_development_does_not(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="AUTHMINT_DATABASE_URL is missing"):
        load(database_url=None)
    assert load(database_url=None, environment="development", data_dir=tmp_path).uses_embedded_database


def test_no_way_to_a_database_starts_an_embedded_one_in_production(tmp_path: Path) -> None:
    """Kind: a default that loses data. Also settings that were made without the check of what is missing do not reach one."""
    settings = load_settings_without_secrets(_env_file=None, issuer="https://auth.example", data_dir=tmp_path / "data")
    with pytest.raises(SettingsError, match="AUTHMINT_DATABASE_URL is missing"):
        database_url(settings)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("environment", ["", "production"])
def test_neither_another_server_nor_alembics_own_command_falls_back_to_an_embedded_database(
    environment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kind: a default that loses data, reached by a way round the command `serve`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTHMINT_ENVIRONMENT", environment)
    monkeypatch.setenv("AUTHMINT_DATA_DIR", str(tmp_path / "data"))
    with pytest.raises(SettingsError, match="AUTHMINT_DATABASE_URL is missing"):
        create_app()
    with pytest.raises(SystemExit, match="AUTHMINT_DATABASE_URL is missing"):
        command.upgrade(alembic_config(), "head")
    assert [] == list(tmp_path.iterdir())


MISSING = ("AUTHMINT_ISSUER", "AUTHMINT_DATABASE_URL", "AUTHMINT_KEY_ENCRYPTION_KEYS", "AUTHMINT_REFRESH_TOKEN_KEYS")


def test_all_settings_that_are_missing_are_named_at_once() -> None:
    """Kind: an error that hides the next one."""
    with pytest.raises(SettingsError) as raised:
        load_settings(_env_file=None)
    assert [f"{name} is missing" for name in MISSING] == [line.partition(".")[0] for line in str(raised.value).splitlines()]
    with pytest.raises(SettingsError) as raised:
        load(issuer="", refresh_token_keys=None)
    assert 2 == len(str(raised.value).splitlines())


def test_all_settings_that_are_wrong_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as raised:
        load(port="canary", workers="0", database_url="canary")
    names = [line.split()[0] for line in str(raised.value).splitlines()]
    assert {"AUTHMINT_PORT", "AUTHMINT_WORKERS", "AUTHMINT_DATABASE_URL"} == set(names)
    assert "canary" not in str(raised.value)


def test_no_key_has_two_purposes() -> None:
    """Kind: a secret that opens more than it is for. Encryption, refresh tokens, and what other services hold are apart."""
    for one, other in ((GOOD, GOOD), (GOOD, f"2:{GOOD[2:]}"), (f"{GOOD},2:{OTHER[2:]}", f"7:{OTHER[2:]}")):
        with pytest.raises(SettingsError, match="have a key in common") as raised:
            load(key_encryption_keys=one, refresh_token_keys=other)
        assert GOOD[2:] not in str(raised.value)
    for given in (GOOD, OTHER):
        with pytest.raises(SettingsError, match="AUTHMINT_SHARED_SECRET is one of the keys"):
            load(signing_algorithm="HS256", shared_secret=given[2:])


TEXTS = {
    "issuer": "https://auth.example", "database_url": "postgresql://user:canary@host/name", "host": "127.0.0.1",
    "internal_host": "127.0.0.1", "data_dir": "data", "docs_client_id": "spa", "log_level": "INFO", "log_format": "json",
    "environment": "production", "signing_algorithm": "ES256", "otlp_endpoint": "http://collector:4318", "shared_secret": GOOD,
    "password_breach_url": "https://breaches.example/range",
}  # fmt: skip
LISTS = {
    "key_encryption_keys",
    "refresh_token_keys",
    "cors_origins",
    "trusted_proxies",
    "grants",
    "id_token_algorithms",
    "outbound_allowed_hosts",
}
NUMBERS = {
    name for name, field in Settings.model_fields.items() if {int, bool} & {field.annotation, *get_args(field.annotation)}
}


@pytest.mark.parametrize("name", sorted(TEXTS))
@pytest.mark.parametrize("spelling", [" {}", "{} ", "{}\n", "\t{}", "{}\u00a0"])
def test_white_space_round_a_value_is_a_sentence(name: str, spelling: str) -> None:
    """Kind: what a copied line brings along. It would be part of a host, a folder or a password."""
    with pytest.raises(SettingsError) as raised:
        load(**{name: spelling.format(TEXTS[name])})
    assert f"AUTHMINT_{name.upper()} is wrong: there is white space before or after it." == str(raised.value)


def test_every_setting_is_a_text_without_white_space_round_it_a_list_or_a_number() -> None:
    assert set(Settings.model_fields) == set(TEXTS) | LISTS | NUMBERS


@pytest.mark.parametrize("name", ["issuer", "database_url", "otlp_endpoint"])
@pytest.mark.parametrize(
    ("mistake", "reason"), [("a {}", "white space"), ("{0}\n{0}", "white space"), ('"{}"', "quotation marks")]
)
def test_white_space_and_quotation_marks_in_a_url_are_a_sentence(name: str, mistake: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=f"^AUTHMINT_{name.upper()} .*{reason}") as raised:
        load(**{name: mistake.format(TEXTS[name])})
    assert "canary" not in str(raised.value)


def test_lists_may_have_white_space_round_each_part() -> None:
    assert ("https://a.example", "https://b.example") == load(
        cors_origins=" https://a.example,\n https://b.example\n"
    ).cors_origins
    settings = load(key_encryption_keys=f" {GOOD} ,\n2:{RANDOM}\n", refresh_token_keys=f"\t{OTHER}\n")
    assert ({1, 2}, {1}) == (set(settings.encryption_keys), set(settings.refresh_keys))


def test_settings_do_not_show_secrets_in_their_text_form() -> None:
    settings = load(database_url="postgresql://user:canary@host/name")
    for text in (repr(settings), str(settings), repr(settings.refresh_keys), f"{settings.encryption_keys}"):
        assert "canary" not in text
        assert GOOD[2:] not in text
        assert str(base64.b64decode(GOOD[2:])) not in text


def test_a_development_start_makes_its_secrets_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    def development() -> Settings:
        return load_settings(_env_file=None, environment="development", data_dir=tmp_path / "data", port=9000)

    first, second = development(), development()
    assert dict(first.refresh_keys) == dict(second.refresh_keys)
    assert dict(first.refresh_keys) != dict(first.encryption_keys)
    assert "http://127.0.0.1:9000" == first.issuer_url
    assert 0o600 == stat.S_IMODE((tmp_path / "data" / "secrets.env").stat().st_mode)


def test_the_environment_and_a_file_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(f"AUTHMINT_ISSUER=https://file.example\nAUTHMINT_KEY_ENCRYPTION_KEYS={GOOD}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTHMINT_REFRESH_TOKEN_KEYS", OTHER)
    monkeypatch.setenv("AUTHMINT_DATABASE_URL", "postgresql://host/name")
    monkeypatch.setenv("AUTHMINT_CORS_ORIGINS", "https://a.example, https://b.example")
    settings = load_settings()
    assert ("https://file.example", ("https://a.example", "https://b.example")) == (settings.issuer_url, settings.cors_origins)


def test_every_setting_is_frozen_has_a_description_and_is_in_one_group_alone() -> None:
    groups = [group for group in Settings.__mro__ if issubclass(group, SettingsGroup) and group is not Settings]
    owned = [name for group in groups for name in inspect.get_annotations(group) if name in Settings.model_fields]
    assert sorted(Settings.model_fields) == sorted(owned)
    needed = {"environment", "data_dir", "database_url", "database_pool_size", "database_statement_cache"}
    assert needed == set(DatabaseSettings.model_fields)
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
    with pytest.raises(ValidationError, match="frozen"):
        load().port = 1


def test_the_algorithms_are_those_of_the_library() -> None:
    assert jose.ALGORITHMS == signing.ALGORITHMS
