"""Outbox: the place of a code and its indexes. Audit log: slots for failed attempts beyond the cap (timing).

One migration for one release: during a rolling update the previous release accepts exactly one revision more.
"""

import sqlalchemy as sa
from alembic import context, op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # First what a repeated migration can repeat: CONCURRENTLY commits the transaction that the migration began in.
    _add_places_of_codes()
    _add_failure_slots()


def downgrade() -> None:
    op.drop_table("failure_slots")
    for name in ("ix_letters_slot_code_number", "ix_letters_dead", "ix_letters_not_after"):
        op.drop_index(name, "letters")
    op.drop_column("letters", "code_number")
    op.drop_column("letters", "slot")


def _add_places_of_codes() -> None:
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


def _add_failure_slots() -> None:
    op.create_table(
        "failure_slots",
        sa.Column("slot", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("filling", sa.Text(), nullable=False),
        sa.CheckConstraint("slot BETWEEN 0 AND 1023", name=op.f("ck_failure_slots_slot_bounded")),
        sa.PrimaryKeyConstraint("slot", name=op.f("pk_failure_slots")),
    )
    op.create_index("ix_failure_slots_number_changed_at", "failure_slots", ["number", "changed_at"])
    op.create_index("ix_failure_slots_number_slot", "failure_slots", ["number", "slot"])
    # Few rows, each changed very often during an attack: the usual threshold, a share of the rows, would be far too
    # high for the dead versions that an attack leaves.
    op.execute("ALTER TABLE failure_slots SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0)")


def _is_empty() -> bool:
    """Whether nothing waits for these indexes: in a new database all migrations are one transaction."""
    if context.is_offline_mode():
        return False
    return bool(op.get_bind().scalar(sa.text("SELECT NOT EXISTS (SELECT FROM letters)")))
