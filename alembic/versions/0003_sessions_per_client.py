"""How long a client's sessions last, how it gets refresh tokens, and tokens that were ended at large."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Seconds; NULL: as the service is set. `origins`: the sites that a browser may use this client's cookie from.
    op.execute("""
        ALTER TABLE clients
            ADD COLUMN refresh_grace_seconds integer,
            ADD COLUMN session_idle_ttl integer,
            ADD COLUMN session_ttl integer,
            ADD COLUMN refresh_cookie boolean NOT NULL DEFAULT false,
            ADD COLUMN origins text[] NOT NULL DEFAULT '{}',
            ADD COLUMN tokens_not_before timestamptz
    """)
    op.execute("ALTER TABLE users ADD COLUMN tokens_not_before timestamptz")
    op.execute("CREATE INDEX users_tokens_not_before ON users (tokens_not_before) WHERE tokens_not_before IS NOT NULL")
    op.execute("CREATE INDEX clients_tokens_not_before ON clients (tokens_not_before) WHERE tokens_not_before IS NOT NULL")
    op.execute("""
        CREATE TABLE everyone (
            only_row          boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
            tokens_not_before timestamptz
        )
    """)
    op.execute("INSERT INTO everyone DEFAULT VALUES")
    # What is over is found by walking the table, so that a session costs one index less.
    op.execute("DROP INDEX sessions_expires_at")


def downgrade() -> None:
    op.execute("CREATE INDEX sessions_expires_at ON sessions (expires_at)")
    op.execute("DROP TABLE everyone")
    op.execute("ALTER TABLE users DROP COLUMN tokens_not_before")
    op.execute("""
        ALTER TABLE clients
            DROP COLUMN refresh_grace_seconds, DROP COLUMN session_idle_ttl, DROP COLUMN session_ttl,
            DROP COLUMN refresh_cookie, DROP COLUMN origins, DROP COLUMN tokens_not_before
    """)
