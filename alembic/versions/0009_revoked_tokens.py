"""Access tokens that were revoked one by one: those of services, which belong to no session.

`entry`: as in the revocation list, the first 8 bytes of the SHA-256 of the token's `jti`.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE authmint.revoked_tokens (
            entry      bytea       PRIMARY KEY CHECK (octet_length(entry) = 8),
            expires_at timestamptz NOT NULL,
            revoked_at timestamptz NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX revoked_tokens_revoked_at ON authmint.revoked_tokens (revoked_at)")
    op.execute("CREATE INDEX revoked_tokens_expires_at ON authmint.revoked_tokens (expires_at)")


def downgrade() -> None:
    op.execute("DROP TABLE authmint.revoked_tokens")
