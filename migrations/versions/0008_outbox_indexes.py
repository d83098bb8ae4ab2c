"""Outbox: the place of a code, and indexes for metrics and expiry."""

from alembic import context, op
from sqlalchemy import text

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The previous release adds emails without these columns; they count as replaced by no other code.
    # IF NOT EXISTS: CONCURRENTLY needs a transaction of its own, so a repeated migration may find the first steps done.
    op.execute("ALTER TABLE letters ADD COLUMN IF NOT EXISTS slot bytea, ADD COLUMN IF NOT EXISTS code_number bigint")
    if _is_empty():
        op.execute(
            "CREATE INDEX IF NOT EXISTS ix_letters_slot_code_number ON letters (slot, code_number)"
            " WHERE slot IS NOT NULL"
        )
        op.execute("CREATE INDEX IF NOT EXISTS ix_letters_dead ON letters (ended_at) WHERE state = 'dead'")
        op.execute("CREATE INDEX IF NOT EXISTS ix_letters_not_after ON letters (not_after) WHERE state = 'waiting'")
        return
    with op.get_context().autocommit_block():
        # An interrupted CREATE INDEX CONCURRENTLY leaves an invalid index.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_letters_slot_code_number")
        op.execute(
            "CREATE INDEX CONCURRENTLY ix_letters_slot_code_number ON letters (slot, code_number)"
            " WHERE slot IS NOT NULL"
        )
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_letters_dead")
        op.execute("CREATE INDEX CONCURRENTLY ix_letters_dead ON letters (ended_at) WHERE state = 'dead'")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_letters_not_after")
        op.execute("CREATE INDEX CONCURRENTLY ix_letters_not_after ON letters (not_after) WHERE state = 'waiting'")


def downgrade() -> None:
    for name in ("ix_letters_slot_code_number", "ix_letters_dead", "ix_letters_not_after"):
        op.drop_index(name, "letters")
    op.drop_column("letters", "code_number")
    op.drop_column("letters", "slot")


def _is_empty() -> bool:
    """Whether nothing waits for these indexes: in a new database all migrations are one transaction."""
    if context.is_offline_mode():
        return False
    return bool(op.get_bind().scalar(text("SELECT NOT EXISTS (SELECT FROM letters)")))
