"""Connection strings as providers, consoles and other drivers write them: each parameter is understood, passed over or refused.

The driver sends what it does not know to PostgreSQL as a setting of the server, which refuses the connection.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from urllib.parse import unquote_plus

DRIVER = {
    "host", "port", "user", "password", "dbname", "database", "passfile", "service", "sslmode", "sslcert", "sslkey",
    "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation", "ssl_min_protocol_version", "ssl_max_protocol_version",
    "target_session_attrs", "krbsrvname", "gsslib",
}  # fmt: skip
"""Parameters that asyncpg understands."""

SERVER = {
    "options", "search_path", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout",
    "idle_session_timeout", "transaction_timeout", "default_transaction_read_only", "default_transaction_isolation", "timezone",
    "datestyle", "role", "work_mem", "jit", "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count",
}  # fmt: skip
"""Settings of the server, which PostgreSQL takes as they are."""

PASSED_OVER = {
    "application_name", "fallback_application_name", "channel_binding", "client_encoding", "connect_timeout",
    "connection_limit", "gssencmode", "gssdelegation", "keepalives", "keepalives_idle", "keepalives_interval",
    "keepalives_count", "load_balance_hosts", "max_protocol_version", "min_protocol_version", "pool_timeout", "schema",
    "currentschema", "socket_timeout", "sslcertmode", "sslcompression", "sslsni", "supa", "tcp_user_timeout", "workaround",
}  # fmt: skip
"""Parameters of libpq, Prisma, JDBC and consoles that change nothing here: the service has its own timeouts and schema."""

POOLED = {
    "pgbouncer": "true", "statement_cache_size": "0", "prepared_statement_cache_size": "0", "preparethreshold": "0",
    "prepare": "false",
}  # fmt: skip
"""What says, with this value, that a pooler in transaction mode is between."""

REFUSED = {
    "hostaddr": "write the address as the host",
    "replication": "the service needs an ordinary connection",
    "require_auth": "it cannot be required here; sslmode=verify-full makes sure of the server",
    "requirepeer": "it cannot be required here",
    "sslaccept": "write sslmode=verify-full, or sslmode=require for any certificate",
    "sslidentity": "write sslcert and sslkey",
}
"""Parameters that ask for something which would not be done."""

SSL = {"true": "require", "1": "require", "require": "require", "no-verify": "require", "false": "disable", "0": "disable"}
"""What other drivers call `ssl`, as `sslmode`."""

VALUES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "target_session_attrs": ("any", "primary", "read-write"),
    "gsslib": ("gssapi",),
}


@dataclass(frozen=True, slots=True)
class ConnectionString:
    """A connection string that the driver understands."""

    dsn: str
    passed_over: tuple[str, ...] = ()
    """The parameters that were given and have no effect."""
    is_pooled: bool = False
    """Whether a pooler in transaction mode is between, so that no statement may be prepared."""


def read_connection_string(text: str) -> ConnectionString:
    """Return what the driver understands of a connection string. Raise ValueError, whose text repeats nothing of it.

    A name that is not known may be a part of a password.
    """
    address, question_mark, query = text.partition("?")
    kept: list[str] = []
    passed_over: list[str] = []
    is_pooled = False
    for number, part in enumerate(query.split("&") if question_mark else (), start=1):
        name, equals, value = (unquote_plus(piece) for piece in part.partition("="))
        known = name.lower()
        if not equals:
            raise ValueError(f"parameter {number} after the ? has no value")
        if known in POOLED:
            is_pooled = is_pooled or value.lower() == POOLED[known]
        elif known == "ssl":
            if value.lower() not in SSL:
                raise ValueError("ssl must be true or false; sslmode says more")
            # The driver takes the last one: what `sslmode` says goes before.
            kept.insert(0, f"sslmode={SSL[value.lower()]}")
        elif (known, value) == ("sslmode", "no-verify"):
            kept.append("sslmode=require")
        elif known in PASSED_OVER and not (known == "gssencmode" and value == "require"):
            passed_over.append(known)
        else:
            _check(number, known, value)
            kept.append(f"{known}={part.partition('=')[2]}")
    dsn = f"{address}?{'&'.join(kept)}" if kept else address
    return ConnectionString(dsn, tuple(passed_over), is_pooled)


def _check(number: int, name: str, value: str) -> None:
    """Raise ValueError for a parameter that the driver would refuse, or send to the server as a setting of its own."""
    if name in VALUES and value not in VALUES[name]:
        raise ValueError(f"{name} must be one of {', '.join(VALUES[name])}")
    if name == "port" and not all(one.isascii() and one.isdecimal() and 0 < int(one[:6]) < 65536 for one in value.split(",")):
        raise ValueError("a port is not a number from 1 to 65535")
    if name == "sslrootcert" and value == "system":
        raise ValueError("sslrootcert must name a file, such as /etc/ssl/certs/ca-certificates.crt")
    if name == "gssencmode":
        raise ValueError("gssencmode=require is not offered; write sslmode=verify-full")
    if name in REFUSED:
        raise ValueError(f"{name} is not offered: {REFUSED[name]}")
    if name not in DRIVER | SERVER:
        similar = get_close_matches(name, DRIVER | SERVER | PASSED_OVER | POOLED.keys(), n=1, cutoff=0.75)
        advice = f"Did you mean {similar[0]}" if similar else "A setting of the server is written as options=-c%20name%3Dvalue"
        raise ValueError(f"parameter {number} after the ? is not known. {advice}")
