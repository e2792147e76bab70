"""Users, clients, sessions and signing keys."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE users (
            id            uuid        PRIMARY KEY,
            username      text        NOT NULL UNIQUE,
            password_hash text        NOT NULL,
            enabled       boolean     NOT NULL DEFAULT true,
            created_at    timestamptz NOT NULL
        )
    """)
    op.execute("""
        CREATE TABLE clients (
            client_id         text        PRIMARY KEY,
            subject           uuid        NOT NULL UNIQUE,
            name              text        NOT NULL,
            confidential      boolean     NOT NULL,
            secret_hashes     bytea[]     NOT NULL,
            grants            text[]      NOT NULL,
            scopes            text[]      NOT NULL,
            audiences         text[]      NOT NULL,
            default_audiences text[]      NOT NULL,
            enabled           boolean     NOT NULL DEFAULT true,
            created_at        timestamptz NOT NULL,
            CONSTRAINT clients_secrets CHECK (cardinality(secret_hashes) <= CASE WHEN confidential THEN 2 ELSE 0 END),
            CONSTRAINT clients_default_audiences CHECK (cardinality(default_audiences) > 0 AND default_audiences <@ audiences)
        )
    """)
    # Room in each page keeps the new version of a row beside the old one, so that a refresh touches no index.
    op.execute("""
        CREATE TABLE sessions (
            handle          bytea       PRIMARY KEY,
            id              uuid        NOT NULL UNIQUE,
            account_id         uuid        NOT NULL REFERENCES users ON DELETE CASCADE,
            client_id       text        NOT NULL REFERENCES clients ON DELETE CASCADE,
            generation      integer     NOT NULL DEFAULT 0,
            scopes          text[]      NOT NULL,
            audiences       text[]      NOT NULL,
            created_at      timestamptz NOT NULL,
            rotated_at      timestamptz NOT NULL,
            idle_expires_at timestamptz NOT NULL,
            expires_at      timestamptz NOT NULL,
            revoked_at      timestamptz
        ) WITH (fillfactor = 70)
    """)
    op.execute("CREATE INDEX sessions_user_id ON sessions (account_id)")
    op.execute("CREATE INDEX sessions_client_id ON sessions (client_id)")
    op.execute("CREATE INDEX sessions_expires_at ON sessions (expires_at)")
    op.execute("""
        CREATE TABLE signing_keys (
            kid               text        PRIMARY KEY,
            algorithm         text        NOT NULL,
            state             text        NOT NULL CHECK (state IN ('next', 'active', 'retired')),
            encrypted_key     bytea       NOT NULL,
            encryption_key_id smallint    NOT NULL,
            created_at        timestamptz NOT NULL
        )
    """)
    # Two processes that both believe they make the first key: the database lets one of them.
    op.execute("CREATE UNIQUE INDEX signing_keys_one_active ON signing_keys (state) WHERE state = 'active'")


def downgrade() -> None:
    op.execute("DROP TABLE signing_keys, sessions, clients, users")
