"""The outbox."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "letters",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("dedup_key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=True),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("recipient_key", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'sent', 'expired', 'dead')", name=op.f("ck_letters_state_known")),
        sa.CheckConstraint(
            "(state = 'waiting') = (payload IS NOT NULL)", name=op.f("ck_letters_only_waiting_has_payload")
        ),
        sa.CheckConstraint("(state = 'waiting') = (ended_at IS NULL)", name=op.f("ck_letters_ended_has_instant")),
        sa.CheckConstraint("language IN ('en', 'ru')", name=op.f("ck_letters_language_known")),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_letters_attempts_counted")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_letters_user_id_users"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_letters")),
        sa.UniqueConstraint("dedup_key", name=op.f("uq_letters_dedup_key")),
    )
    op.create_index("ix_letters_due", "letters", ["next_attempt_at"], postgresql_where=sa.text("state = 'waiting'"))
    op.create_index("ix_letters_recipient_key_created_at", "letters", ["recipient_key", "created_at"])
    op.create_index("ix_letters_user_id", "letters", ["user_id"])
    op.create_index("ix_letters_ended_at", "letters", ["ended_at"], postgresql_where=sa.text("state <> 'waiting'"))


def downgrade() -> None:
    op.drop_table("letters")
