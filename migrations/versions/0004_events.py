"""History, partitioned by month."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("address", postgresql.INET(), nullable=True),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("details", postgresql.JSONB(), nullable=False),
        sa.CheckConstraint("outcome IN ('success', 'failure')", name=op.f("ck_events_outcome_known")),
        sa.CheckConstraint("char_length(device) <= 256", name=op.f("ck_events_device_length")),
        sa.PrimaryKeyConstraint("id", "at", name=op.f("pk_events")),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_index("ix_events_user_id_id", "events", ["user_id", "id"])
    # Whatever no month was made for lands here, and is not lost; `manage.py maintenance` makes months ahead.
    op.execute("CREATE TABLE events_default PARTITION OF events DEFAULT")


def downgrade() -> None:
    op.drop_table("events")
