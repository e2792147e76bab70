"""Passwords that change, and where a session was started from."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Counts changes, so that a sign-in with the password from before cannot start a session after the change.
    op.execute("ALTER TABLE users ADD COLUMN credentials_version integer NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE sessions ADD COLUMN ip_address text")
    # For the list of sessions that were ended. A refresh changes nothing of it, so it still touches no index.
    op.execute("CREATE INDEX sessions_revoked_at ON sessions (revoked_at) WHERE revoked_at IS NOT NULL")


def downgrade() -> None:
    op.execute("DROP INDEX sessions_revoked_at")
    op.execute("ALTER TABLE sessions DROP COLUMN ip_address")
    op.execute("ALTER TABLE users DROP COLUMN credentials_version")
