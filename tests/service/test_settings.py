"""A setting that is missing, weak or wrong stops the start with a sentence that names it and does not repeat its value."""

import base64
import hashlib
import inspect
import stat
from pathlib import Path

import pytest
from pydantic import ValidationError
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from authmint import jose
from authmint_service.errors import SettingsError
from authmint_service.settings import DatabaseSettings, Settings, load_settings, signing
from authmint_service.settings.group import SettingsGroup

GOOD = "1:" + base64.b64encode(hashlib.sha256(b"a key of these tests").digest()).decode()
KNOWN: dict[str, object] = {"issuer": "https://auth.example", "key_encryption_keys": GOOD, "refresh_token_keys": GOOD}


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
        ("database_url", "postgresql://u:x@h,i:canary/x"), ("database_url", "postgresql://u:x@h:65536/canary"),
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
        "postgresql:///x", "postgres://u@h/x", "postgresql://u:a@b@h:65535/x", "postgresql://u:p@[::1]:5432/x",
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
    secret = GOOD[2:]
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
        load().require_database()
    load(database_url="postgresql://host/name").require_database()
    load(environment="development", data_dir=tmp_path).require_database()


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
    monkeypatch.setenv("AUTHMINT_REFRESH_TOKEN_KEYS", GOOD)
    monkeypatch.setenv("AUTHMINT_CORS_ORIGINS", "https://a.example, https://b.example")
    settings = load_settings()
    assert ("https://file.example", ("https://a.example", "https://b.example")) == (settings.issuer_url, settings.cors_origins)


def test_every_setting_is_frozen_has_a_description_and_is_in_one_group_alone() -> None:
    groups = [group for group in Settings.__mro__ if issubclass(group, SettingsGroup) and group is not Settings]
    owned = [name for group in groups for name in inspect.get_annotations(group) if name in Settings.model_fields]
    assert sorted(Settings.model_fields) == sorted(owned)
    assert {"database_url", "database_pool_size", "database_statement_cache", "data_dir"} == set(DatabaseSettings.model_fields)
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
    with pytest.raises(ValidationError, match="frozen"):
        load().port = 1


def test_the_algorithms_are_those_of_the_library() -> None:
    assert jose.ALGORITHMS == signing.ALGORITHMS
