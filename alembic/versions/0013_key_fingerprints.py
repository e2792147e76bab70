"""Fingerprints of secret keys: an id that stands for different keys in two processes is noticed."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Without one, an id is all that is known of a key: a process of the version before, or a key that was used before.
    op.execute("ALTER TABLE authmint.refresh_token_keys ADD COLUMN fingerprint bytea")
    op.execute("""
        ALTER TABLE authmint.processes ADD COLUMN key_encryption_key_fingerprints bytea[] NOT NULL DEFAULT '{}',
                                       ADD COLUMN refresh_token_key_fingerprints bytea[] NOT NULL DEFAULT '{}'
    """)


def downgrade() -> None:
    op.execute("""
        ALTER TABLE authmint.processes DROP COLUMN key_encryption_key_fingerprints,
                                       DROP COLUMN refresh_token_key_fingerprints
    """)
    op.execute("ALTER TABLE authmint.refresh_token_keys DROP COLUMN fingerprint")
