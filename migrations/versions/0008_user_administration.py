"""User administration: bans, invitations, indexes of the user list and of the audit log, request ids of audit events.

One migration for one release: during a rolling update the previous release accepts exactly one revision more.
"""

from typing import Any

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

USER_INDEXES: dict[str, dict[str, Any]] = {
    "ix_users_created_at_id": {"columns": ["created_at", "id"]},
    # LIKE 'prefix%' uses an index only with this operator class, whatever the collation of the database is.
    "ix_users_email_key_prefix": {"columns": ["email_key"], "postgresql_ops": {"email_key": "text_pattern_ops"}},
    "ix_users_banned": {
        "columns": ["created_at", "id"],
        "postgresql_where": sa.text("banned_until IS NOT NULL"),
    },
}

EMAIL_INDEX = "ix_letters_state_created_at_id"

GRANT_REQUEST_ID = """
DO $$
DECLARE
    other text;
BEGIN
    FOR other IN
        SELECT DISTINCT grantee::regrole::text FROM pg_attribute, aclexplode(attacl)
        WHERE attrelid = 'events'::regclass AND attname = 'kind' AND privilege_type = 'INSERT' AND grantee <> 0
    LOOP
        EXECUTE format('GRANT INSERT (request_id) ON events TO %s', other);
    END LOOP;
END
$$
"""


def upgrade() -> None:
    # First what a repeated migration can repeat: CONCURRENTLY commits the transaction that the migration began in.
    _add_bans()
    _add_index_of_emails()
    _add_request_ids()
    _add_invitations()


def downgrade() -> None:
    op.drop_table("invitations")
    op.drop_column("events", "request_id")
    op.drop_index(EMAIL_INDEX, "letters")
    for name in USER_INDEXES:
        op.drop_index(name, "users")
    op.drop_constraint(op.f("ck_users_ban_complete"), "users")
    for name in ("ban_reason", "banned_at", "banned_until"):
        op.drop_column("users", name)


def _add_bans() -> None:
    op.execute(
        "ALTER TABLE users ADD COLUMN IF NOT EXISTS banned_until timestamptz,"
        " ADD COLUMN IF NOT EXISTS banned_at timestamptz, ADD COLUMN IF NOT EXISTS ban_reason text"
    )
    # Without NOT VALID, the check would read all rows under a lock that excludes readers. No row has a ban yet.
    op.execute("ALTER TABLE users DROP CONSTRAINT IF EXISTS ck_users_ban_complete")
    op.execute(
        "ALTER TABLE users ADD CONSTRAINT ck_users_ban_complete"
        " CHECK (num_nulls(banned_until, banned_at, ban_reason) IN (0, 3)) NOT VALID"
    )
    if _is_empty("users"):
        for name, definition in USER_INDEXES.items():
            op.create_index(name, "users", if_not_exists=True, **definition)
        op.execute("ALTER TABLE users VALIDATE CONSTRAINT ck_users_ban_complete")
        return
    with op.get_context().autocommit_block():
        for name, definition in USER_INDEXES.items():
            # An interrupted CREATE INDEX CONCURRENTLY leaves an invalid index.
            op.drop_index(name, "users", if_exists=True, postgresql_concurrently=True)
            op.create_index(name, "users", postgresql_concurrently=True, **definition)
        op.execute("ALTER TABLE users VALIDATE CONSTRAINT ck_users_ban_complete")


def _add_index_of_emails() -> None:
    """For the list of emails, newest first: one index for all states, and for each of them."""
    columns = ["state", "created_at", "id"]
    if _is_empty("letters"):
        op.create_index(EMAIL_INDEX, "letters", columns, if_not_exists=True)
        return
    with op.get_context().autocommit_block():
        op.drop_index(EMAIL_INDEX, "letters", if_exists=True, postgresql_concurrently=True)
        op.create_index(EMAIL_INDEX, "letters", columns, postgresql_concurrently=True)


def _is_empty(table: str) -> bool:
    """Whether nothing waits for indexes of this table: in a new database all migrations are one transaction."""
    if context.is_offline_mode():
        return False
    anything = sa.select(sa.exists(sa.select(sa.literal_column("1")).select_from(sa.table(table))))
    return not op.get_bind().scalar(anything)


def _add_request_ids() -> None:
    op.add_column("events", sa.Column("request_id", sa.Text(), nullable=True))
    op.execute(GRANT_REQUEST_ID)


def _add_invitations() -> None:
    op.create_table(
        "invitations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_key", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("roles", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("invited_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("num_nonnulls(accepted_at, revoked_at) <= 1", name=op.f("ck_invitations_ends_once")),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("ck_invitations_digest_length")),
        sa.CheckConstraint("language IN ('en', 'ru')", name=op.f("ck_invitations_language_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitations")),
        sa.UniqueConstraint("digest", name=op.f("uq_invitations_digest")),
    )
    op.create_index(
        "uq_invitations_open",
        "invitations",
        ["email_key"],
        unique=True,
        postgresql_where=sa.text("accepted_at IS NULL AND revoked_at IS NULL"),
    )
    op.create_index("ix_invitations_created_at_id", "invitations", ["created_at", "id"])
