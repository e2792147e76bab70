"""The change that covers a session which has ended: the revocation list has its account's epoch, and not the session."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE authmint.sessions ADD COLUMN covered_by bigint")
    # A refresh changes no column of these.
    op.execute("CREATE INDEX sessions_covered_by ON authmint.sessions (covered_by) WHERE covered_by IS NOT NULL")
    op.execute("""
        CREATE INDEX sessions_uncovered ON authmint.sessions (account_id, revoked_at)
         WHERE revoked_at IS NOT NULL AND covered_by IS NULL
    """)


def downgrade() -> None:
    op.execute("DROP INDEX authmint.sessions_uncovered")
    op.execute("DROP INDEX authmint.sessions_covered_by")
    op.execute("ALTER TABLE authmint.sessions DROP COLUMN covered_by")
