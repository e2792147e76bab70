"""The lock of signing keys goes: all changes of what processes cache wait for the one row of `turn`."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP TABLE authmint.signing_key_lock")


def downgrade() -> None:
    op.execute("CREATE TABLE authmint.signing_key_lock (only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row))")
    op.execute("INSERT INTO authmint.signing_key_lock DEFAULT VALUES")
