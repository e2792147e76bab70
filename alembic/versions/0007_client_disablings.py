"""Clients that were disabled, while their sessions are being revoked."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # `id` names the disabling: a client may be enabled and disabled again while the first one still revokes sessions.
    op.execute("""
        CREATE TABLE authmint.client_disablings (
            client_id text PRIMARY KEY REFERENCES authmint.clients ON DELETE CASCADE,
            id        uuid NOT NULL
        )
    """)
    # What may have been left half done until now.
    op.execute(
        "INSERT INTO authmint.client_disablings SELECT client_id, gen_random_uuid() FROM authmint.clients WHERE NOT enabled"
    )


def downgrade() -> None:
    op.execute("DROP TABLE authmint.client_disablings")
