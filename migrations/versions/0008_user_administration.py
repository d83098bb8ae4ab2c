"""User administration and second factors: bans, invitations, audit seals and searches, TOTP, recovery codes, passkeys.

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

EVENT_INDEXES = {
    "ix_events_at_id": "(at, id)",
    "ix_events_kind_outcome_at_id": "(kind, outcome, at, id)",
    "ix_events_failed_at_id": "(at, id) WHERE outcome = 'failure'",
}

# As many as a failed attempt has more in `events` (user enumeration by timing).
SLOT_INDEXES = {
    "ix_failure_slots_changed_at_slot": ["changed_at", "slot"],
    "ix_failure_slots_changed_at_number": ["changed_at", "number"],
    "ix_failure_slots_slot_changed_at_number": ["slot", "changed_at", "number"],
}

PARTITION_WITHOUT = """
SELECT partition.oid::regclass::text
FROM pg_inherits JOIN pg_class AS partition ON partition.oid = inhrelid
WHERE inhparent = 'events'::regclass AND NOT EXISTS (
    SELECT FROM pg_index JOIN pg_inherits AS attached ON attached.inhrelid = indexrelid
    WHERE indrelid = partition.oid AND attached.inhparent = CAST(:name AS regclass)
)
ORDER BY 1 LIMIT 1
"""

# `public` stands for the schema of the tables, as in 0004 and 0007, whose function this one replaces.
FORGET_PERSON = """
CREATE OR REPLACE FUNCTION events_forget_person(person bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    forgotten bigint;
BEGIN
    IF EXISTS (SELECT FROM public.users WHERE id = person) THEN
        RAISE EXCEPTION 'the history of an account is kept as long as the account';
    END IF;
    -- A row that is being moved to its month must not be missed. Any number of people are forgotten at once.
    PERFORM pg_advisory_xact_lock_shared(7251903360117231);
    /*digests*/
    UPDATE public.events
    SET user_id = NULL, session_id = NULL, address = NULL, device = ''/*request*/,
        details = CASE WHEN details ? 'method' THEN jsonb_build_object('method', details -> 'method') ELSE '{}' END
    WHERE user_id = person;
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    -- What the person did to others stays, with the number of the account; IP address and device are the person's.
    UPDATE public.events SET address = NULL, device = ''/*request*/
    WHERE actor_type = 'user' AND actor_id = person::text;
    RETURN forgotten;
END
$$
"""
# A client may choose the request id, and logs of proxies have it beside the IP address.
FORGET_REQUEST = ", request_id = NULL"
# Of rows whose digest is there already, the person is removed for the second time: as their actor, too.
KEEP_DIGESTS = """
    INSERT INTO public.events_forgotten (event_id, digest)
    SELECT id, public.audit_event_digest(events) FROM public.events WHERE user_id = person
    ON CONFLICT DO NOTHING;
    INSERT INTO public.events_forgotten (event_id, digest)
    SELECT id, public.audit_event_digest(events) FROM public.events
    WHERE actor_type = 'user' AND actor_id = person::text
    ON CONFLICT DO NOTHING;
"""

# The columns are named: a later column must not change the digests of the events before it.
EVENT_DIGEST = """
CREATE FUNCTION audit_event_digest(event public.events) RETURNS bytea
LANGUAGE sql STABLE
AS $$
SELECT sha256(convert_to(jsonb_build_array(
    event.id, (extract(epoch FROM event.at) * 1000000)::bigint, event.user_id, event.kind, event.outcome,
    event.session_id, event.address::text, event.device, event.actor_type, event.actor_id, event.target_type,
    event.target_id, event.request_id, event.details
)::text, 'UTF8'))
$$
"""

# As in 0004. The seals of a dropped month, and the digests of its forgotten events, end with it.
DROP_MONTH = """
CREATE OR REPLACE FUNCTION events_drop_month(older_than interval) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET timezone = 'UTC' SET lock_timeout = '200ms'
AS $$
DECLARE
    oldest text;
BEGIN
    -- The minimum is enforced here and not by the service: an attacker with its role cannot remove the last days.
    SELECT relname INTO oldest
    FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = 'public.events'::regclass
        AND relname ~ '^events_[0-9]{4}_[0-9]{2}$'
        AND to_date(substr(relname, 8), 'YYYY_MM') + interval '1 month'
            <= now() - greatest(older_than, interval '30 days')
    ORDER BY relname
    LIMIT 1;
    IF oldest IS NOT NULL THEN
        --seals
        EXECUTE format('DROP TABLE public.%I', oldest);
    END IF;
    RETURN oldest;
END
$$
"""
DROP_SEALS = """
        EXECUTE format(
            'DELETE FROM public.events_forgotten WHERE event_id IN (SELECT id FROM public.%I)', oldest);
        DELETE FROM public.audit_seals
        WHERE hour < to_date(substr(oldest, 8), 'YYYY_MM') + interval '1 month';
"""

# The service adds seals, and changes neither them nor the digests of forgotten events (docs/decisions/0012).
APPEND_ONLY_SEALS = """
DO $$
DECLARE
    other text;
BEGIN
    FOR other IN
        SELECT DISTINCT grantee::regrole::text FROM pg_class, aclexplode(relacl)
        WHERE pg_class.oid = 'audit_seals'::regclass AND grantee NOT IN (0, relowner)
    LOOP
        EXECUTE format('REVOKE ALL ON audit_seals, events_forgotten FROM %s', other);
        EXECUTE format('GRANT SELECT, INSERT ON audit_seals TO %s', other);
        EXECUTE format('GRANT SELECT ON events_forgotten TO %s', other);
    END LOOP;
END
$$
"""

# Partial: almost all rows have no value, and their inserts need no entry.
FACTOR_INDEXES = {
    "uq_users_webauthn_handle": ("users", "webauthn_handle"),
    "uq_sessions_ticket_digest": ("sessions", "ticket_digest"),
}
METHODS = "method IN ('password', 'code', 'passkey', 'identity')"
FORMER_METHODS = "method IN ('password', 'code')"


def upgrade() -> None:
    # First what a repeated migration can repeat: CONCURRENTLY commits the transaction that the migration began in.
    _add_bans()
    _add_index_of_emails()
    _add_searches_of_events()
    _add_factor_columns()
    _replace_methods(METHODS)
    _add_request_ids()
    _add_seals()
    _add_invitations()
    _create_second_factors()
    _create_recovery_codes()
    _create_passkeys()
    _create_second_factor_resets()


def downgrade() -> None:
    _remove_factors()
    op.drop_table("invitations")
    _replace_forget_person("", "")
    _replace(DROP_MONTH)
    op.execute("DROP FUNCTION audit_event_digest(events)")
    op.drop_table("events_forgotten")
    op.drop_table("audit_seals")
    op.drop_column("events", "request_id")
    op.drop_index(EMAIL_INDEX, "letters")
    for name in SLOT_INDEXES:
        op.drop_index(name, "failure_slots")
    for name in EVENT_INDEXES:
        op.drop_index(name, "events")
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


def _add_searches_of_events() -> None:
    for name, columns in SLOT_INDEXES.items():
        op.create_index(name, "failure_slots", columns, if_not_exists=True)
    if context.is_offline_mode() or _is_empty("events"):
        for name, definition in EVENT_INDEXES.items():
            op.execute("CREATE INDEX IF NOT EXISTS " + name + " ON events " + definition)
        return
    with op.get_context().autocommit_block():
        for name, definition in EVENT_INDEXES.items():
            _index_each_partition(name, definition)


def _index_each_partition(name: str, definition: str) -> None:
    """Build an index without a lock that excludes writers: PostgreSQL cannot do it for a partitioned table as a whole.

    A month that is made meanwhile gets the index with the others of the table.
    """
    op.execute("CREATE INDEX IF NOT EXISTS " + name + " ON ONLY events " + definition)
    without = sa.text(PARTITION_WITHOUT).bindparams(name=name)
    while (partition := op.get_bind().scalar(without)) is not None:
        index = partition.rpartition(".")[2].strip('"') + name.removeprefix("ix_events") + "_idx"
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS " + index)  # an interrupted one is invalid
        op.execute("CREATE INDEX CONCURRENTLY " + index + " ON " + partition + " " + definition)
        op.execute("ALTER INDEX " + name + " ATTACH PARTITION " + index)


def _add_request_ids() -> None:
    op.add_column("events", sa.Column("request_id", sa.Text(), nullable=True))
    op.execute(GRANT_REQUEST_ID)


def _add_seals() -> None:
    op.create_table(
        "audit_seals",
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("seal", sa.Text(), nullable=False),
        sa.CheckConstraint("hour = date_trunc('hour', hour, 'UTC')", name=op.f("ck_audit_seals_hour_whole")),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("ck_audit_seals_digest_length")),
        sa.PrimaryKeyConstraint("hour", name=op.f("pk_audit_seals")),
    )
    op.create_table(
        "events_forgotten",
        sa.Column("event_id", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("ck_events_forgotten_digest_length")),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_events_forgotten")),
    )
    op.execute(APPEND_ONLY_SEALS)
    _replace(EVENT_DIGEST)
    _replace(DROP_MONTH.replace("--seals", DROP_SEALS))
    _replace_forget_person(FORGET_REQUEST, KEEP_DIGESTS)


def _replace_forget_person(request: str, digests: str) -> None:
    _replace(FORGET_PERSON.replace("/*request*/", request).replace("/*digests*/", digests))


def _replace(function: str) -> None:
    """Create a function with the schema of this database instead of `public`."""
    if not context.is_offline_mode():
        schema = op.get_bind().scalar(sa.text("SELECT quote_ident(current_schema())"))
        function = function.replace("public", str(schema))
    op.execute(function)


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
        sa.Column("user_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("num_nonnulls(accepted_at, revoked_at) <= 1", name=op.f("ck_invitations_ends_once")),
        sa.CheckConstraint("(accepted_at IS NULL) = (user_id IS NULL)", name=op.f("ck_invitations_accepted_by_user")),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("ck_invitations_digest_length")),
        sa.CheckConstraint("language IN ('en', 'ru')", name=op.f("ck_invitations_language_known")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_invitations_user_id_users"), ondelete="CASCADE"
        ),
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
    op.create_index(
        "ix_invitations_ended_at", "invitations", [sa.text("coalesce(accepted_at, revoked_at, expires_at)")]
    )
    op.create_index("ix_invitations_user_id", "invitations", ["user_id"])


def _remove_factors() -> None:
    for table in ("second_factor_resets", "passkeys", "recovery_codes", "second_factors"):
        op.drop_table(table)
    # The release before cannot have these sessions; their users sign in again.
    op.execute("DELETE FROM sessions WHERE method IN ('passkey', 'identity')")
    _replace_methods(FORMER_METHODS)
    for name, (table, column) in FACTOR_INDEXES.items():
        op.drop_index(name, table)
        op.drop_column(table, column)
    op.drop_column("users", "factor_version")


def _add_factor_columns() -> None:
    op.execute(
        "ALTER TABLE users ADD COLUMN IF NOT EXISTS webauthn_handle bytea,"
        " ADD COLUMN IF NOT EXISTS factor_version integer NOT NULL DEFAULT 0"
    )
    op.execute("ALTER TABLE sessions ADD COLUMN IF NOT EXISTS ticket_digest bytea")
    for name, (table, column) in FACTOR_INDEXES.items():
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


def _create_second_factor_resets() -> None:
    op.create_table(
        "second_factor_resets",
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("effective_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cancel_digest", sa.LargeBinary(), nullable=False),
        sa.Column("credential_version", sa.Integer(), nullable=False),
        sa.Column("factor_version", sa.Integer(), nullable=False),
        sa.CheckConstraint("next_at <= effective_at", name=op.f("ck_second_factor_resets_next_before_effect")),
        sa.CheckConstraint(
            "octet_length(cancel_digest) = 32", name=op.f("ck_second_factor_resets_cancel_digest_length")
        ),
        _of_user("second_factor_resets"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_second_factor_resets")),
        sa.UniqueConstraint("cancel_digest", name=op.f("uq_second_factor_resets_cancel_digest")),
    )
    op.create_index("ix_second_factor_resets_next_at", "second_factor_resets", ["next_at"])
