"""An index of the live sessions of an account with a client, the newest first: a sign-in looks whether they are too many."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A refresh changes no column of it, so it writes no index.
    op.execute(
        "CREATE INDEX sessions_live ON authmint.sessions (account_id, client_id, started_at DESC) WHERE revoked_at IS NULL"
    )


def downgrade() -> None:
    op.execute("DROP INDEX authmint.sessions_live")
