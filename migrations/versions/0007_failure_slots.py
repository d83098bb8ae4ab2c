"""Slots that take the writes of failed attempts beyond the cap of the audit log (timing side channel)."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
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


def downgrade() -> None:
    op.drop_table("failure_slots")
