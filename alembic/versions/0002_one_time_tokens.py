"""One-time values: links and codes, by the HMAC over kind, owner and value."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS = (
    # The row is deleted by the statement that uses the value. `tries`: of a code; a link has none.
    """
    CREATE TABLE authmint.one_time_tokens (
        digest     bytea       PRIMARY KEY CHECK (octet_length(digest) = 32),
        kind       text        NOT NULL CHECK (kind <> ''),
        account_id uuid        REFERENCES authmint.accounts ON DELETE CASCADE,
        client_id  text        REFERENCES authmint.clients ON DELETE CASCADE,
        key_id     smallint    NOT NULL,
        tries      integer     CHECK (tries >= 0),
        created_at timestamptz NOT NULL,
        expires_at timestamptz NOT NULL,
        CONSTRAINT one_time_tokens_one_owner CHECK (account_id IS NULL OR client_id IS NULL),
        CONSTRAINT one_time_tokens_tries CHECK (tries IS NULL OR account_id IS NOT NULL)
    )
    """,
    "CREATE UNIQUE INDEX one_time_tokens_one_code ON authmint.one_time_tokens (account_id, kind) WHERE tries IS NOT NULL",
    "CREATE INDEX one_time_tokens_account_id ON authmint.one_time_tokens (account_id) WHERE account_id IS NOT NULL",
    "CREATE INDEX one_time_tokens_client_id ON authmint.one_time_tokens (client_id) WHERE client_id IS NOT NULL",
    "CREATE INDEX one_time_tokens_expires_at ON authmint.one_time_tokens (expires_at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE authmint.one_time_tokens")
