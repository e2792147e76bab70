"""A client can be deleted: its row stays for ever, so that its id is never given again."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE authmint.clients ADD COLUMN deleted_at timestamptz")
    op.execute("ALTER TABLE authmint.clients ADD CONSTRAINT clients_deleted_at CHECK (deleted_at IS NULL OR NOT enabled)")
    op.execute("ALTER TABLE authmint.clients DROP CONSTRAINT clients_default_resources")
    op.execute("""
        ALTER TABLE authmint.clients ADD CONSTRAINT clients_default_resources CHECK (
            default_resources <@ resources AND (cardinality(default_resources) > 0 OR deleted_at IS NOT NULL))
    """)


def downgrade() -> None:
    # An older version cannot read a client without resources. It stays disabled.
    op.execute("UPDATE authmint.clients SET resources = '{-}', default_resources = '{-}' WHERE deleted_at IS NOT NULL")
    op.execute("ALTER TABLE authmint.clients DROP CONSTRAINT clients_default_resources")
    op.execute("""
        ALTER TABLE authmint.clients ADD CONSTRAINT clients_default_resources CHECK (
            cardinality(default_resources) > 0 AND default_resources <@ resources)
    """)
    op.execute("ALTER TABLE authmint.clients DROP CONSTRAINT clients_deleted_at, DROP COLUMN deleted_at")
