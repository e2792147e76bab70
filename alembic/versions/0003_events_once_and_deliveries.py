"""Failures that are recorded once, and deliveries of any kind.

`events.once`: a keyed hash of what may be recorded once; NULL for the events of changes, which are all recorded.
`deliveries.kind`: the program registers its kinds. `last_error`: of the last attempt, for operators.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE authmint.events ADD COLUMN once bytea CHECK (octet_length(once) = 32)")
    op.execute("CREATE UNIQUE INDEX events_once ON authmint.events (once) WHERE once IS NOT NULL")
    op.execute("ALTER TABLE authmint.deliveries DROP CONSTRAINT deliveries_kind_check")
    op.execute("ALTER TABLE authmint.deliveries ADD CONSTRAINT deliveries_kind_check CHECK (kind <> '')")
    op.execute("ALTER TABLE authmint.deliveries ADD COLUMN last_error text")


def downgrade() -> None:
    op.execute("ALTER TABLE authmint.deliveries DROP COLUMN last_error")
    op.execute("DELETE FROM authmint.deliveries WHERE kind NOT IN ('mail', 'logout', 'webhook')")
    op.execute("ALTER TABLE authmint.deliveries DROP CONSTRAINT deliveries_kind_check")
    op.execute(
        "ALTER TABLE authmint.deliveries ADD CONSTRAINT deliveries_kind_check CHECK (kind IN ('mail', 'logout', 'webhook'))"
    )
    op.execute("ALTER TABLE authmint.events DROP COLUMN once")
