"""The change that covers a token which was revoked by itself: the revocation list has its client's epoch, and not the token."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE authmint.revoked_tokens ADD COLUMN client_id text, ADD COLUMN covered_by bigint")
    op.execute("CREATE INDEX revoked_tokens_covered_by ON authmint.revoked_tokens (covered_by) WHERE covered_by IS NOT NULL")
    op.execute("CREATE INDEX revoked_tokens_uncovered ON authmint.revoked_tokens (client_id) WHERE covered_by IS NULL")


def downgrade() -> None:
    op.execute("DROP INDEX authmint.revoked_tokens_uncovered")
    op.execute("DROP INDEX authmint.revoked_tokens_covered_by")
    op.execute("ALTER TABLE authmint.revoked_tokens DROP COLUMN covered_by, DROP COLUMN client_id")
