"""Signing keys with a time for each of their states, and the row that whoever changes them holds."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP INDEX signing_keys_one_active")
    op.execute("ALTER TABLE signing_keys RENAME COLUMN created_at TO published_at")
    op.execute("""
        ALTER TABLE signing_keys
            ADD COLUMN active_from     timestamptz,
            ADD COLUMN retired_at      timestamptz,
            ADD COLUMN withdrawn_at timestamptz,
            ADD COLUMN revoked_at      timestamptz,
            ALTER COLUMN encrypted_key DROP NOT NULL
    """)
    op.execute("UPDATE signing_keys SET active_from = published_at")
    # Until now a key signed until the one after it was made. Its tokens live an hour at most, and caches and leeway add less.
    op.execute("""
        UPDATE signing_keys AS old
           SET retired_at = retired.at, withdrawn_at = retired.at + interval '2 hours'
          FROM (SELECT kid, coalesce(lead(published_at) OVER (ORDER BY published_at, kid), published_at) AS at
                  FROM signing_keys) AS retired
         WHERE retired.kid = old.kid AND old.state <> 'active'
    """)
    op.execute("ALTER TABLE signing_keys DROP COLUMN state, ALTER COLUMN active_from SET NOT NULL")
    # Two keys that both sign until further notice: the database lets one of them.
    op.execute("""
        CREATE UNIQUE INDEX signing_keys_one_last ON signing_keys ((retired_at IS NULL))
         WHERE retired_at IS NULL AND revoked_at IS NULL
    """)
    op.execute("CREATE TABLE signing_key_lock (only_row boolean PRIMARY KEY CHECK (only_row))")
    op.execute("INSERT INTO signing_key_lock VALUES (true)")


def downgrade() -> None:
    op.execute("DROP TABLE signing_key_lock")
    op.execute("DROP INDEX signing_keys_one_last")
    op.execute("DELETE FROM signing_keys WHERE encrypted_key IS NULL")
    op.execute("ALTER TABLE signing_keys ADD COLUMN state text CHECK (state IN ('next', 'active', 'retired'))")
    # The one that signs now: a key that was announced begins when it is its turn, which the older version does not know.
    op.execute("""
        UPDATE signing_keys SET state =
            CASE WHEN active_from <= now() AND (retired_at IS NULL OR retired_at > now()) THEN 'active' ELSE 'retired' END
    """)
    op.execute("""
        ALTER TABLE signing_keys
            DROP COLUMN active_from, DROP COLUMN retired_at, DROP COLUMN withdrawn_at, DROP COLUMN revoked_at,
            ALTER COLUMN encrypted_key SET NOT NULL, ALTER COLUMN state SET NOT NULL
    """)
    op.execute("ALTER TABLE signing_keys RENAME COLUMN published_at TO created_at")
    op.execute("CREATE UNIQUE INDEX signing_keys_one_active ON signing_keys (state) WHERE state = 'active'")
