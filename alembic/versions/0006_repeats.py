"""Repeats of refresh tokens, counted.

`sessions.repeats`: generations in which the parent was presented from elsewhere; `repeated_generation`: the last of them;
`late_repeats`: of the parent in the current generation, after the grace period.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE authmint.sessions ADD COLUMN repeated_generation integer")
    op.execute("ALTER TABLE authmint.sessions ADD COLUMN late_repeats smallint NOT NULL DEFAULT 0")


def downgrade() -> None:
    op.execute("ALTER TABLE authmint.sessions DROP COLUMN late_repeats")
    op.execute("ALTER TABLE authmint.sessions DROP COLUMN repeated_generation")
