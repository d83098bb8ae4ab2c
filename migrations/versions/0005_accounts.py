"""Changes of accounts: the version that mailed codes are about, addresses under way, and what can be undone."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A constant default is kept in the catalogue: no row is written (PostgreSQL 11 and later).
    op.add_column("users", sa.Column("credential_version", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "undos",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("email_key", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('new_device', 'email_changed')", name=op.f("ck_undos_kind_known")),
        sa.CheckConstraint(
            "(kind = 'email_changed') = (email IS NOT NULL)", name=op.f("ck_undos_email_where_it_changed")
        ),
        sa.CheckConstraint("(email IS NULL) = (email_key IS NULL)", name=op.f("ck_undos_email_has_key")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_undos_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_undos")),
    )
    op.create_index("ix_undos_user_id", "undos", ["user_id"])
    op.create_index("ix_undos_expires_at", "undos", ["expires_at"])
    op.create_table(
        "email_changes",
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_key", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name=op.f("fk_email_changes_session_id_sessions"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_email_changes_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_email_changes")),
    )
    op.create_index("ix_email_changes_user_id", "email_changes", ["user_id"])


def downgrade() -> None:
    op.drop_table("email_changes")
    op.drop_table("undos")
    op.drop_column("users", "credential_version")
