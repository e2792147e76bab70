"""All tables of the schema `authmint`. The schema itself is created by `env.py`, as alembic's own table is in it."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ACCOUNTS = (
    # credentials_version counts changes, so that a sign-in that read the old password starts no session after the change.
    """
    CREATE TABLE authmint.accounts (
        id                  uuid        PRIMARY KEY,
        state               text        NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled', 'deleted')),
        disabled_reason     text,
        credentials_version integer     NOT NULL DEFAULT 0,
        created_at          timestamptz NOT NULL,
        deleted_at          timestamptz,
        tokens_not_before   timestamptz,
        CONSTRAINT accounts_disabled_reason CHECK (disabled_reason IS NULL OR state = 'disabled'),
        CONSTRAINT accounts_deleted_at CHECK ((deleted_at IS NOT NULL) = (state = 'deleted'))
    )
    """,
    "CREATE INDEX accounts_tokens_not_before ON authmint.accounts (tokens_not_before) WHERE tokens_not_before IS NOT NULL",
    # `text` is what the person wrote, `prepared` what is compared (RFC 8265).
    """
    CREATE TABLE authmint.account_names (
        prepared    text        NOT NULL CHECK (prepared <> ''),
        account_id  uuid        NOT NULL REFERENCES authmint.accounts ON DELETE CASCADE,
        kind        text        NOT NULL CHECK (kind IN ('username', 'email')),
        text        text        NOT NULL,
        is_primary  boolean     NOT NULL DEFAULT false,
        verified_at timestamptz,
        PRIMARY KEY (account_id, prepared),
        CONSTRAINT account_names_kind CHECK ((kind = 'email') = (position('@' IN prepared) > 0))
    )
    """,
    # One name space. An address that is not verified belongs to no account yet, and blocks no other account.
    """
    CREATE UNIQUE INDEX account_names_prepared ON authmint.account_names (prepared)
     WHERE kind = 'username' OR verified_at IS NOT NULL
    """,
    "CREATE UNIQUE INDEX account_names_one_primary ON authmint.account_names (account_id, kind) WHERE is_primary",
    """
    CREATE TABLE authmint.passwords (
        account_id uuid        PRIMARY KEY REFERENCES authmint.accounts ON DELETE CASCADE,
        hash       text        NOT NULL,
        changed_at timestamptz NOT NULL
    )
    """,
)

CLIENTS = (
    # Lifetimes in seconds; NULL: the service's setting. `origins`: the web origins that may use this client's cookie.
    """
    CREATE TABLE authmint.clients (
        client_id             text        PRIMARY KEY,
        subject               uuid        NOT NULL UNIQUE,
        name                  text        NOT NULL,
        confidential          boolean     NOT NULL,
        grants                text[]      NOT NULL,
        scopes                text[]      NOT NULL,
        resources             text[]      NOT NULL,
        default_resources     text[]      NOT NULL,
        enabled               boolean     NOT NULL DEFAULT true,
        refresh_grace_seconds integer,
        session_idle_ttl      integer,
        session_ttl           integer,
        refresh_cookie        boolean     NOT NULL DEFAULT false,
        origins               text[]      NOT NULL DEFAULT '{}',
        created_at            timestamptz NOT NULL,
        tokens_not_before     timestamptz,
        CONSTRAINT clients_default_resources CHECK (cardinality(default_resources) > 0 AND default_resources <@ resources)
    )
    """,
    "CREATE INDEX clients_tokens_not_before ON authmint.clients (tokens_not_before) WHERE tokens_not_before IS NOT NULL",
    """
    CREATE TABLE authmint.client_secrets (
        id           uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
        client_id    text        NOT NULL REFERENCES authmint.clients ON DELETE CASCADE,
        hash         bytea       NOT NULL CHECK (octet_length(hash) = 32),
        created_at   timestamptz NOT NULL,
        expires_at   timestamptz,
        last_used_at timestamptz,
        CONSTRAINT client_secrets_hash UNIQUE (client_id, hash)
    )
    """,
    # A CHECK cannot see other rows. The lock on the client orders transactions that add a secret at the same time.
    """
    CREATE FUNCTION authmint.check_client_secrets() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        allowed integer;
    BEGIN
        SELECT CASE WHEN confidential THEN 2 ELSE 0 END INTO allowed
          FROM authmint.clients WHERE client_id = NEW.client_id FOR NO KEY UPDATE;
        IF allowed < (SELECT count(*) FROM authmint.client_secrets
                       WHERE client_id = NEW.client_id AND (expires_at IS NULL OR expires_at > clock_timestamp())) THEN
            RAISE check_violation USING
                MESSAGE = 'a confidential client has at most two live secrets, and a public client has none',
                SCHEMA = 'authmint', TABLE = 'client_secrets', CONSTRAINT = 'client_secrets_live';
        END IF;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE CONSTRAINT TRIGGER client_secrets_live AFTER INSERT OR UPDATE OF client_id, expires_at ON authmint.client_secrets
       FOR EACH ROW EXECUTE FUNCTION authmint.check_client_secrets()
    """,
)

SESSIONS = (
    # Free space in each page keeps the new version of a row beside the old one, so that a refresh writes no index.
    """
    CREATE TABLE authmint.sessions (
        handle          bytea       PRIMARY KEY,
        id              uuid        NOT NULL UNIQUE,
        account_id      uuid        NOT NULL REFERENCES authmint.accounts ON DELETE CASCADE,
        client_id       text        NOT NULL REFERENCES authmint.clients ON DELETE CASCADE,
        generation      integer     NOT NULL DEFAULT 0,
        scopes          text[]      NOT NULL,
        audiences       text[]      NOT NULL,
        started_at      timestamptz NOT NULL,
        rotated_at      timestamptz NOT NULL,
        idle_expires_at timestamptz NOT NULL,
        expires_at      timestamptz NOT NULL,
        tokens_until    timestamptz,
        revoked_at      timestamptz,
        end_cause       text,
        ip_address      text,
        user_agent      text,
        device_id       uuid,
        refresh_key_id  smallint,
        rotation_source bytea,
        repeats         integer     NOT NULL DEFAULT 0,
        CONSTRAINT sessions_end_cause CHECK (end_cause IN (
            'signed_out', 'signed_out_elsewhere', 'operator', 'password_changed', 'reused', 'repeated_elsewhere', 'idle',
            'expired', 'evicted', 'account_disabled', 'client_disabled', 'key_dropped', 'newer_than_database'
        ))
    ) WITH (fillfactor = 70)
    """,
    "CREATE INDEX sessions_account_id ON authmint.sessions (account_id)",
    "CREATE INDEX sessions_client_id ON authmint.sessions (client_id)",
    # For the revocation list. A refresh changes no column of it. Expired sessions are found by a walk of the primary key, so
    # that no index on a time must be written by every refresh.
    "CREATE INDEX sessions_revoked_at ON authmint.sessions (revoked_at) WHERE revoked_at IS NOT NULL",
    # One row: all access tokens that were issued up to this time are refused.
    """
    CREATE TABLE authmint.all_tokens (
        only_row          boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
        tokens_not_before timestamptz
    )
    """,
    "INSERT INTO authmint.all_tokens DEFAULT VALUES",
)

SIGNING_KEYS = (
    """
    CREATE TABLE authmint.signing_keys (
        kid               text        PRIMARY KEY,
        algorithm         text        NOT NULL,
        encrypted_key     bytea,
        encryption_key_id smallint    NOT NULL,
        published_at      timestamptz NOT NULL,
        active_from       timestamptz NOT NULL,
        retired_at        timestamptz,
        withdrawn_at      timestamptz,
        revoked_at        timestamptz
    )
    """,
    # An open key has no end yet: it signs until the next one is announced.
    """
    CREATE UNIQUE INDEX signing_keys_one_open_per_algorithm ON authmint.signing_keys (algorithm)
     WHERE retired_at IS NULL AND revoked_at IS NULL
    """,
    "CREATE TABLE authmint.signing_key_lock (only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row))",
    "INSERT INTO authmint.signing_key_lock DEFAULT VALUES",
)

EVENTS = (
    # A seal commits to personal_digest = SHA-256(salt || personal), so it can be verified after salt and personal are erased.
    # `json`, not `jsonb`: it keeps the text that was hashed.
    """
    CREATE TABLE authmint.events (
        id              bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        kind            text        NOT NULL,
        actor_kind      text        NOT NULL,
        actor_id        text,
        subject         uuid,
        client_id       text,
        request_id      text,
        details         jsonb       NOT NULL DEFAULT '{}',
        personal        json,
        salt            bytea       CHECK (octet_length(salt) >= 16),
        personal_digest bytea       CHECK (octet_length(personal_digest) = 32),
        occurred_at     timestamptz NOT NULL,
        sealed_as       bigint,
        CONSTRAINT events_personal CHECK (
            (personal IS NULL) = (salt IS NULL) AND (personal IS NULL OR personal_digest IS NOT NULL)
        )
    )
    """,
    "CREATE INDEX events_occurred_at ON authmint.events (occurred_at)",
    "CREATE INDEX events_subject ON authmint.events (subject, id) WHERE subject IS NOT NULL",
    "CREATE INDEX events_not_sealed ON authmint.events (id) WHERE sealed_as IS NULL",
    """
    CREATE TABLE authmint.deliveries (
        id       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        event_id bigint      NOT NULL REFERENCES authmint.events ON DELETE CASCADE,
        kind     text        NOT NULL CHECK (kind IN ('mail', 'logout', 'webhook')),
        target   text        NOT NULL,
        due_at   timestamptz NOT NULL,
        attempts integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
        dead_at  timestamptz
    )
    """,
    "CREATE INDEX deliveries_event_id ON authmint.deliveries (event_id)",
    "CREATE INDEX deliveries_due_at ON authmint.deliveries (due_at) WHERE dead_at IS NULL",
)

PROCESSES = (
    # max(n) is the authorization version. A transaction locks the one row of `turn` before it inserts, so commits follow n.
    """
    CREATE TABLE authmint.changes (
        n           bigint      PRIMARY KEY CHECK (n > 0),
        kind        text        NOT NULL,
        name        text        NOT NULL,
        takes       boolean     NOT NULL,
        recorded_at timestamptz NOT NULL
    )
    """,
    "CREATE TABLE authmint.turn (only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row))",
    "INSERT INTO authmint.turn DEFAULT VALUES",
    """
    CREATE TABLE authmint.leases (
        name       text        PRIMARY KEY,
        holder     uuid        NOT NULL,
        expires_at timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE authmint.processes (
        id                     uuid        PRIMARY KEY,
        version                text        NOT NULL,
        key_encryption_key_ids smallint[]  NOT NULL,
        refresh_token_key_ids  smallint[]  NOT NULL,
        started_at             timestamptz NOT NULL,
        heartbeat_at           timestamptz NOT NULL
    )
    """,
)


def upgrade() -> None:
    for statement in (*ACCOUNTS, *CLIENTS, *SESSIONS, *SIGNING_KEYS, *EVENTS, *PROCESSES):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE authmint.processes, authmint.leases, authmint.turn, authmint.changes")
    op.execute("DROP TABLE authmint.deliveries, authmint.events")
    op.execute("DROP TABLE authmint.signing_key_lock, authmint.signing_keys, authmint.all_tokens, authmint.sessions")
    op.execute("DROP TABLE authmint.client_secrets, authmint.clients")
    op.execute("DROP FUNCTION authmint.check_client_secrets")
    op.execute("DROP TABLE authmint.passwords, authmint.account_names, authmint.accounts")
