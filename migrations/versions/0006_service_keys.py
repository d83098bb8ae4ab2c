"""Keys of other services."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "service_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("id ~ '^[0-9a-f]{12}$'", name=op.f("ck_service_keys_id_form")),
        sa.CheckConstraint("name ~ '^[a-z0-9][a-z0-9-]{0,39}$'", name=op.f("ck_service_keys_name_form")),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("ck_service_keys_digest_length")),
        sa.CheckConstraint("cardinality(scopes) > 0", name=op.f("ck_service_keys_scopes_given")),
        sa.CheckConstraint(
            "scopes <@ ARRAY['tokens:introspect', 'sessions:verify', 'registration:code']",
            name=op.f("ck_service_keys_scopes_known"),
        ),
        sa.CheckConstraint("expires_at > created_at", name=op.f("ck_service_keys_lives")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_keys")),
    )
    op.create_index("ix_service_keys_name", "service_keys", ["name"])


def downgrade() -> None:
    op.drop_table("service_keys")
