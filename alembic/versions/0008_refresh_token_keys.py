"""Which refresh-token keys are in use: noted when a session begins with one, until an operator drops it."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Sessions that exist do not say which key they were made with. Each says so after its next refresh.
    op.execute("CREATE TABLE authmint.refresh_token_keys (id smallint PRIMARY KEY, first_used_at timestamptz NOT NULL)")


def downgrade() -> None:
    op.execute("DROP TABLE authmint.refresh_token_keys")
