"""Connection strings as providers and drivers write them: understood, passed over with a note, or refused in a sentence."""

import asyncpg
import pytest
from asyncpg.connect_utils import _parse_connect_arguments  # type: ignore[attr-defined]  # private: our lists are compared

from authmint_service.errors import SettingsError
from authmint_service.settings import DatabaseSettings, load_settings
from authmint_service.settings.connection_string import DRIVER, PASSED_OVER, SERVER
from tests.service.conftest import SECRET_KEYS

AT = "postgresql://user:canary@host.example:5432/name"


def load(query: str) -> DatabaseSettings:
    given = {"issuer": "https://auth.example", "database_url": f"{AT}?{query}"}
    return load_settings(_env_file=None, **given, **SECRET_KEYS)


OF_PROVIDERS = {
    "sslmode=require&channel_binding=require": ("sslmode=require", ["channel_binding"], 100),
    "sslmode=require&connect_timeout=15": ("sslmode=require", ["connect_timeout"], 100),
    "schema=public": ("", ["schema"], 100),
    "pgbouncer=true&connection_limit=1": ("", ["connection_limit"], 0),
    "pgbouncer=true&connect_timeout=15&sslmode=require": ("sslmode=require", ["connect_timeout"], 0),
    "pgbouncer=false": ("", [], 100),
    "statement_cache_size=0": ("", [], 0),
    "prepareThreshold=0": ("", [], 0),
    "keepalives=1&keepalives_idle=30&keepalives_interval=10&keepalives_count=5": (
        "", ["keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"], 100,
    ),
    "gssencmode=disable": ("", ["gssencmode"], 100),
    "sslmode=require&supa=base-pooler.x": ("sslmode=require", ["supa"], 100),
    "ssl=true": ("sslmode=require", [], 100),
    "ssl=false&sslmode=verify-full": ("sslmode=disable&sslmode=verify-full", [], 100),
    "sslmode=no-verify": ("sslmode=require", [], 100),
    "application_name=shop&options=-c%20search_path%3Dx": ("options=-c%20search_path%3Dx", ["application_name"], 100),
    "host=/cloudsql/project:region:instance": ("host=/cloudsql/project:region:instance", [], 100),
    "currentSchema=public&tcp_user_timeout=1000&target_session_attrs=read-write": (
        "target_session_attrs=read-write", ["currentschema", "tcp_user_timeout"], 100,
    ),
}  # fmt: skip


@pytest.mark.parametrize("query", OF_PROVIDERS)
def test_what_providers_hand_out_is_understood_or_passed_over_with_a_note(query: str) -> None:
    """Kind: a value that works everywhere else, and is an error of the server here."""
    kept, passed_over, cache = OF_PROVIDERS[query]
    settings = load(query)
    assert (f"{AT}?{kept}" if kept else AT) == settings.connection.dsn
    assert cache == settings.statement_cache_size
    notes = [f"AUTHMINT_DATABASE_URL has parameters that are passed over: {', '.join(passed_over)}."] if passed_over else []
    assert notes == settings.connection_notes()


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("sslmode=on", "sslmode must be one of disable, allow"), ("ssl=canary", "ssl must be true or false"),
        ("target_session_attrs=standby", "target_session_attrs must be one of any, primary"),
        ("sslnegotiation=canary", "sslnegotiation must be one of"), ("sslrootcert=system", "must name a file"),
        ("gssencmode=require", "gssencmode=require is not offered"), ("hostaddr=10.0.0.1", "hostaddr is not offered"),
        ("port=canary", "a port is not a number"), ("port=70000", "a port is not a number"),
        ("require_auth=scram-sha-256", "require_auth is not offered"), ("sslaccept=strict", "write sslmode=verify-full"),
        ("sslmod=require", "parameter 1 after the [?] is not known. Did you mean sslmode"),
        ("sslmode=require&canary=1", "parameter 2 after the [?] is not known. A setting of the server is written as options="),
        ("password=a&canary", "parameter 2 after the [?] has no value"), ("canary", "parameter 1 after the [?] has no value"),
    ],
)  # fmt: skip
def test_what_would_not_be_done_is_refused_in_a_sentence_without_the_value(query: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as raised:
        load(query)
    assert str(raised.value).startswith("AUTHMINT_DATABASE_URL is wrong: ")
    assert ("canary" in str(raised.value), len(str(raised.value).splitlines())) == (False, 1)


def test_the_driver_takes_the_parameters_that_are_left_for_it_and_the_server_those_for_it() -> None:
    """The lists are ours: a driver that no longer knows a parameter would send it to the server."""
    values = {
        "port": "5432",
        "sslmode": "disable",
        "sslnegotiation": "postgres",
        "target_session_attrs": "any",
        "gsslib": "gssapi",
    }
    values |= {"ssl_min_protocol_version": "TLSv1.2", "ssl_max_protocol_version": "TLSv1.3"}
    query = "&".join(f"{name}={values.get(name, 'x')}" for name in sorted(DRIVER | SERVER))
    _, found = _parse_connect_arguments(
        dsn=f"postgresql:///?{query}",
        host=None,
        port=None,
        user=None,
        password=None,
        passfile=None,
        database=None,
        command_timeout=None,
        statement_cache_size=0,
        max_cached_statement_lifetime=0,
        max_cacheable_statement_size=0,
        ssl=None,
        direct_tls=None,
        server_settings=None,
        target_session_attrs=None,
        krbsrvname=None,
        gsslib=None,
        service=None,
        servicefile=None,
    )[:2]
    assert isinstance(found, asyncpg.connect_utils._ConnectionParameters)
    assert set(found.server_settings or ()) == SERVER
    assert not PASSED_OVER & (DRIVER | SERVER)
