"""Users, the roles of the registration, and who has them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "roles",
        sa.Column("name", sa.Text(), nullable=False),
        sa.CheckConstraint(r"name ~ '^ROLE_[A-Z0-9_]{1,59}$'", name=op.f("ck_roles_name_form")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_roles")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_key", sa.Text(), nullable=False),
        sa.Column("verified_mail", sa.Boolean(), nullable=False),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("registration_digest", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("id BETWEEN 1 AND 9007199254740991", name=op.f("ck_users_id_safe_in_javascript")),
        sa.CheckConstraint("octet_length(email) <= 254", name=op.f("ck_users_email_length")),
        sa.CheckConstraint("verified_mail = (verified_at IS NOT NULL)", name=op.f("ck_users_verified_has_instant")),
        sa.CheckConstraint("verified_mail OR password_hash IS NULL", name=op.f("ck_users_temporary_has_no_password")),
        sa.CheckConstraint("language IN ('en', 'ru')", name=op.f("ck_users_language_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email_key", name=op.f("uq_users_email_key")),
    )
    op.create_index("ix_users_temporary", "users", ["created_at"], postgresql_where=sa.text("NOT verified_mail"))
    op.create_table(
        "user_roles",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["role"], ["roles.name"], name=op.f("fk_user_roles_role_roles"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_user_roles_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "role", name=op.f("pk_user_roles")),
    )
    op.create_index(op.f("ix_user_roles_role"), "user_roles", ["role"])
    op.execute("INSERT INTO roles (name) VALUES ('ROLE_TEMPORARY_USER'), ('ROLE_PORTAL_USER')")


def downgrade() -> None:
    op.drop_table("user_roles")
    op.drop_table("users")
    op.drop_table("roles")
