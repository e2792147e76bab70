"""What revokes all tokens of an account, of a client or of everyone is a change that takes; its times in other tables go."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # As every change: after the turn, with numbers above all that there are. What is older than 70 minutes concerns no token.
    op.execute("SELECT only_row FROM authmint.turn FOR UPDATE")
    op.execute("""
        WITH beginning AS (
                 SELECT greatest(coalesce(max(n), 0) + 1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS n
                   FROM authmint.changes),
             revoked AS (SELECT 'account' AS kind, id::text AS name, tokens_not_before FROM authmint.accounts
                          UNION ALL SELECT 'client', client_id, tokens_not_before FROM authmint.clients
                          UNION ALL SELECT 'all', '', tokens_not_before FROM authmint.all_tokens)
        INSERT INTO authmint.changes (n, kind, name, takes, recorded_at)
        SELECT beginning.n + row_number() OVER () - 1, kind, name, true, clock_timestamp()
          FROM beginning, revoked WHERE tokens_not_before > clock_timestamp() - interval '70 minutes'
    """)
    op.execute("ALTER TABLE authmint.accounts DROP COLUMN tokens_not_before")
    op.execute("ALTER TABLE authmint.clients DROP COLUMN tokens_not_before")
    op.execute("DROP TABLE authmint.all_tokens")


COLUMNS = (
    "ALTER TABLE authmint.accounts ADD COLUMN tokens_not_before timestamptz",
    "CREATE INDEX accounts_tokens_not_before ON authmint.accounts (tokens_not_before) WHERE tokens_not_before IS NOT NULL",
    "ALTER TABLE authmint.clients ADD COLUMN tokens_not_before timestamptz",
    "CREATE INDEX clients_tokens_not_before ON authmint.clients (tokens_not_before) WHERE tokens_not_before IS NOT NULL",
    """
    CREATE TABLE authmint.all_tokens (
        only_row          boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
        tokens_not_before timestamptz
    )
    """,
)
TIMES = (
    """
    INSERT INTO authmint.all_tokens (tokens_not_before)
    SELECT max(recorded_at) FROM authmint.changes WHERE kind = 'all' AND takes
    """,
    """
    UPDATE authmint.accounts SET tokens_not_before = (SELECT max(recorded_at) FROM authmint.changes
                                                       WHERE kind = 'account' AND name = id::text AND takes)
    """,
    """
    UPDATE authmint.clients SET tokens_not_before = (SELECT max(recorded_at) FROM authmint.changes
                                                      WHERE kind = 'client' AND name = client_id AND takes)
    """,
)


def downgrade() -> None:
    for statement in (*COLUMNS, *TIMES):
        op.execute(statement)
