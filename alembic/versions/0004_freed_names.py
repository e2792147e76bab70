"""Names that rest: a name that an account has given up is given to no one else for a while."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The row stays in the one unique index of names, so that no one else gets the name, not even at the same moment.
    op.execute("ALTER TABLE authmint.account_names ADD COLUMN freed_at timestamptz")
    op.execute(
        "ALTER TABLE authmint.account_names ADD CONSTRAINT account_names_freed_at CHECK (freed_at IS NULL OR NOT is_primary)"
    )
    op.execute("CREATE INDEX account_names_freed_at ON authmint.account_names (freed_at) WHERE freed_at IS NOT NULL")


def downgrade() -> None:
    op.execute("DELETE FROM authmint.account_names WHERE freed_at IS NOT NULL")
    op.execute("ALTER TABLE authmint.account_names DROP COLUMN freed_at")
