"""Roles with permissions, authentication levels; places of codes in the outbox; slots of failed attempts (timing).

One migration for one release: during a rolling update the previous release accepts exactly one revision more.
"""

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

PERMISSION = "[a-z][a-z0-9_]{0,31}:[a-z][a-z0-9_]{0,31}"
# The built-in permissions of this release; a later migration adds its own. Migrations import nothing from the service.
BUILT_IN = (
    "users:read",
    "users:write",
    "users:ban",
    "users:delete",
    "users:invite",
    "roles:read",
    "roles:write",
    "roles:grant",
    "audit:read",
    "webhooks:read",
    "webhooks:write",
    "mail:read",
    "mail:write",
)


ACTOR_COLUMNS = ("actor_type", "actor_id", "target_type", "target_id")
# The database role of the service may insert events but not change them (docs/decisions/0012). It was named by the
# default privileges of the owner, so the migration finds it in the catalogue.
GRANT_ACTOR_COLUMNS = """
DO $$
DECLARE
    other text;
BEGIN
    FOR other IN
        SELECT DISTINCT grantee::regrole::text FROM pg_attribute, aclexplode(attacl)
        WHERE attrelid = 'events'::regclass AND attname = 'kind' AND privilege_type = 'INSERT' AND grantee <> 0
    LOOP
        EXECUTE format('GRANT INSERT (actor_type, actor_id, target_type, target_id) ON events TO %s', other);
    END LOOP;
END
$$
"""

# `public` stands for the schema of the tables, as in 0004, whose function this one replaces.
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
    UPDATE public.events
    SET user_id = NULL, session_id = NULL, address = NULL, device = '',
        details = CASE WHEN details ? 'method' THEN jsonb_build_object('method', details -> 'method') ELSE '{}' END
    WHERE user_id = person;
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    -- What the person did to others stays, with the number of the account; IP address and device are the person's.
    --acts
    RETURN forgotten;
END
$$
"""
ACTS = "UPDATE public.events SET address = NULL, device = '' WHERE actor_type = 'user' AND actor_id = person::text;"


def _replace_forget_person(acts: str) -> None:
    schema = op.get_bind().scalar(sa.text("SELECT quote_ident(current_schema())"))
    op.execute(FORGET_PERSON.replace("--acts", acts).replace("public", str(schema)))


def upgrade() -> None:
    # First what a repeated migration can repeat: CONCURRENTLY commits the transaction that the migration began in.
    _add_places_of_codes()
    _add_failure_slots()
    _add_roles_and_levels()


def downgrade() -> None:
    op.execute(
        "DELETE FROM service_keys"
        " WHERE NOT scopes <@ ARRAY['tokens:introspect', 'sessions:verify', 'registration:code']"
    )
    op.drop_constraint(op.f("ck_service_keys_scopes_form"), "service_keys")
    op.create_check_constraint(
        op.f("ck_service_keys_scopes_known"),
        "service_keys",
        "scopes <@ ARRAY['tokens:introspect', 'sessions:verify', 'registration:code']",
    )
    _replace_forget_person("")
    op.drop_index("ix_events_target", "events")
    op.drop_index("ix_events_actor", "events")
    for name in ACTOR_COLUMNS:
        op.drop_column("events", name)
    op.drop_table("idempotency_keys")
    op.drop_column("email_changes", "code_session_id")
    op.drop_column("sessions", "amr")
    op.drop_column("sessions", "acr")
    op.drop_table("role_permissions")
    op.execute("DELETE FROM user_roles WHERE role = 'ROLE_PORTAL_ADMIN'")
    op.execute("DELETE FROM roles WHERE name = 'ROLE_PORTAL_ADMIN'")
    op.drop_column("roles", "system")
    op.drop_column("roles", "description")
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


def _add_roles_and_levels() -> None:
    # Constant defaults are kept in the catalogue: no row is written (PostgreSQL 11 and later).
    op.add_column("roles", sa.Column("description", sa.Text(), nullable=True))
    op.add_column("roles", sa.Column("system", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.execute("INSERT INTO roles (name) VALUES ('ROLE_PORTAL_ADMIN') ON CONFLICT DO NOTHING")
    for name, description in (
        ("ROLE_TEMPORARY_USER", "The email address is not confirmed."),
        ("ROLE_PORTAL_USER", "Every user with a confirmed email address."),
        ("ROLE_PORTAL_ADMIN", "Administrators: every permission."),
    ):
        op.execute(
            sa.text("UPDATE roles SET system = true, description = :description WHERE name = :name").bindparams(
                name=name, description=description
            )
        )
    role_permissions = op.create_table(
        "role_permissions",
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("permission", sa.Text(), nullable=False),
        sa.CheckConstraint(f"permission ~ '^{PERMISSION}$'", name=op.f("ck_role_permissions_permission_form")),
        sa.ForeignKeyConstraint(
            ["role"], ["roles.name"], name=op.f("fk_role_permissions_role_roles"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("role", "permission", name=op.f("pk_role_permissions")),
    )
    op.create_index(op.f("ix_role_permissions_permission"), "role_permissions", ["permission"])
    op.bulk_insert(
        role_permissions, [{"role": "ROLE_PORTAL_ADMIN", "permission": permission} for permission in BUILT_IN]
    )

    op.add_column("sessions", sa.Column("acr", sa.Text(), server_default="aal1", nullable=False))
    op.add_column("sessions", sa.Column("amr", postgresql.ARRAY(sa.Text()), nullable=True))
    op.create_check_constraint(op.f("ck_sessions_acr_known"), "sessions", "acr IN ('aal1', 'aal2')")

    op.add_column("email_changes", sa.Column("code_session_id", sa.Uuid(), nullable=True))

    op.create_table(
        "idempotency_keys",
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("body_digest", sa.LargeBinary(), nullable=False),
        sa.Column("answer", postgresql.JSONB(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("key ~ '^[A-Za-z0-9._-]{8,64}$'", name=op.f("ck_idempotency_keys_key_form")),
        sa.PrimaryKeyConstraint("caller", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_expires_at", "idempotency_keys", ["expires_at"])

    for name in ACTOR_COLUMNS:
        op.add_column("events", sa.Column(name, sa.Text(), nullable=True))
    # Partial: no existing event has an actor, so both are built by one scan and stay small.
    op.create_index(
        "ix_events_actor",
        "events",
        ["actor_type", "actor_id", "id"],
        postgresql_where=sa.text("actor_id IS NOT NULL"),
    )
    op.create_index(
        "ix_events_target",
        "events",
        ["target_type", "target_id", "id"],
        postgresql_where=sa.text("target_id IS NOT NULL"),
    )
    op.execute(GRANT_ACTOR_COLUMNS)
    _replace_forget_person(ACTS)

    op.drop_constraint(op.f("ck_service_keys_scopes_known"), "service_keys")
    op.create_check_constraint(
        op.f("ck_service_keys_scopes_form"),
        "service_keys",
        f"array_to_string(scopes, ' ') ~ '^{PERMISSION}( {PERMISSION})*$'",
    )
