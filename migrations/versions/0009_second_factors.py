"""Second factors and passkeys: TOTP secrets, recovery codes, passkeys, consumed tickets of sign-ins."""

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# Partial: almost all rows have no value, and their inserts need no entry.
UNIQUE_INDEXES = {
    "uq_users_webauthn_handle": ("users", "webauthn_handle"),
    "uq_sessions_ticket_digest": ("sessions", "ticket_digest"),
}
METHODS = "method IN ('password', 'code', 'passkey', 'identity')"
FORMER_METHODS = "method IN ('password', 'code')"


def upgrade() -> None:
    # First what a repeated migration can repeat: CONCURRENTLY commits the transaction that the migration began in.
    _add_columns()
    _replace_methods(METHODS)
    _create_second_factors()
    _create_recovery_codes()
    _create_passkeys()


def downgrade() -> None:
    for table in ("passkeys", "recovery_codes", "second_factors"):
        op.drop_table(table)
    # The release before cannot have these sessions; their users sign in again.
    op.execute("DELETE FROM sessions WHERE method IN ('passkey', 'identity')")
    _replace_methods(FORMER_METHODS)
    for name, (table, column) in UNIQUE_INDEXES.items():
        op.drop_index(name, table)
        op.drop_column(table, column)
    op.drop_column("users", "factor_version")


def _add_columns() -> None:
    op.execute(
        "ALTER TABLE users ADD COLUMN IF NOT EXISTS webauthn_handle bytea,"
        " ADD COLUMN IF NOT EXISTS factor_version integer NOT NULL DEFAULT 0"
    )
    op.execute("ALTER TABLE sessions ADD COLUMN IF NOT EXISTS ticket_digest bytea")
    for name, (table, column) in UNIQUE_INDEXES.items():
        has_value = sa.text(column + " IS NOT NULL")
        if _is_empty(table):
            op.create_index(name, table, [column], unique=True, postgresql_where=has_value, if_not_exists=True)
            continue
        with op.get_context().autocommit_block():
            # An interrupted CREATE INDEX CONCURRENTLY leaves an invalid index.
            op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
            op.create_index(
                name, table, [column], unique=True, postgresql_where=has_value, postgresql_concurrently=True
            )


def _replace_methods(condition: str) -> None:
    # Without NOT VALID, the check would read all rows under a lock that excludes readers.
    op.execute("ALTER TABLE sessions DROP CONSTRAINT IF EXISTS ck_sessions_method_known")
    op.execute("ALTER TABLE sessions ADD CONSTRAINT ck_sessions_method_known CHECK (" + condition + ") NOT VALID")
    validate = "ALTER TABLE sessions VALIDATE CONSTRAINT ck_sessions_method_known"
    if _is_empty("sessions"):
        op.execute(validate)
        return
    with op.get_context().autocommit_block():
        op.execute(validate)


def _is_empty(table: str) -> bool:
    """Whether nothing waits for indexes of this table: in a new database all migrations are one transaction."""
    if context.is_offline_mode():
        return False
    anything = sa.select(sa.exists(sa.select(sa.literal_column("1")).select_from(sa.table(table))))
    return not op.get_bind().scalar(anything)


def _of_user(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["user_id"], ["users.id"], name=op.f("fk_" + table + "_user_id_users"), ondelete="CASCADE"
    )


def _create_second_factors() -> None:
    op.create_table(
        "second_factors",
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pending_secret", sa.LargeBinary(), nullable=True),
        sa.Column("pending_session", sa.Uuid(), nullable=True),
        sa.Column("pending_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "num_nulls(secret, confirmed_at, last_step) IN (0, 3)", name=op.f("ck_second_factors_totp_complete")
        ),
        sa.CheckConstraint(
            "num_nulls(pending_secret, pending_session, pending_until) IN (0, 3)",
            name=op.f("ck_second_factors_pending_complete"),
        ),
        sa.CheckConstraint("failures >= 0", name=op.f("ck_second_factors_failures_count")),
        _of_user("second_factors"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_second_factors")),
    )


def _create_recovery_codes() -> None:
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("ck_recovery_codes_digest_length")),
        _of_user("recovery_codes"),
        sa.PrimaryKeyConstraint("user_id", "digest", name=op.f("pk_recovery_codes")),
    )


def _create_passkeys() -> None:
    op.create_table(
        "passkeys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("backup_eligible", sa.Boolean(), nullable=False),
        sa.Column("backed_up", sa.Boolean(), nullable=False),
        sa.Column("transports", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("aaguid", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("ticket_digest", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "octet_length(credential_id) BETWEEN 1 AND 1023", name=op.f("ck_passkeys_credential_id_length")
        ),
        sa.CheckConstraint("backup_eligible OR NOT backed_up", name=op.f("ck_passkeys_backup_possible")),
        sa.CheckConstraint("octet_length(ticket_digest) = 32", name=op.f("ck_passkeys_ticket_digest_length")),
        _of_user("passkeys"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_passkeys")),
        sa.UniqueConstraint("credential_id", name=op.f("uq_passkeys_credential_id")),
        sa.UniqueConstraint("ticket_digest", name=op.f("uq_passkeys_ticket_digest")),
    )
    op.create_index("ix_passkeys_user_id", "passkeys", ["user_id"])
