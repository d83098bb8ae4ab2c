"""History, partitioned by month, which the role of the service can add to and not change."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# The functions below run as the owner of the tables, so that the role of the service, which changes no tables and no
# events, can ask for exactly this much (docs/decisions/0012). Their search_path is fixed and every name is written in
# full: whoever calls them cannot bring tables of their own.

# `public` stands for the schema of the tables: the first on the search_path of the role that migrates.

MAKE_MONTH = """
CREATE FUNCTION events_make_month() RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET timezone = 'UTC' SET lock_timeout = '500ms'
AS $$
DECLARE
    first date;
    partition text;
    low timestamptz;
    high timestamptz;
    move text;
    moved bigint;
    others text;
BEGIN
    -- One at a time; and nobody is forgotten while rows are on their way, see events_forget_person.
    PERFORM pg_advisory_xact_lock(7251903360117231);

    -- This month, three ahead, and whatever month something was written in that there was no partition for.
    SELECT wanted.month INTO first
    FROM (
        SELECT (date_trunc('month', now()) + make_interval(months => ahead))::date AS month
        FROM generate_series(0, 3) AS ahead
        UNION
        SELECT date_trunc('month', at)::date FROM public.events_default
        WHERE at BETWEEN now() - interval '10 years' AND now() + interval '1 month'
    ) AS wanted
    WHERE to_regclass('public.events_' || to_char(wanted.month, 'YYYY_MM')) IS NULL
    ORDER BY wanted.month
    LIMIT 1;
    IF first IS NULL THEN
        RETURN NULL;
    END IF;

    partition := 'events_' || to_char(first, 'YYYY_MM');
    low := first;
    high := first + interval '1 month';
    -- Made beside the table and attached: PARTITION OF would lock out everybody who writes. The check, which says what
    -- the bounds will say, saves attaching a look at each row.
    EXECUTE format(
        'CREATE TABLE public.%I (LIKE public.events INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES,'
        ' CONSTRAINT bounds CHECK (at >= %L AND at < %L))', partition, low, high);
    move := format(
        'WITH moved AS (DELETE FROM public.events_default WHERE at >= %L AND at < %L RETURNING *)'
        ' INSERT INTO public.%I SELECT * FROM moved', low, high, partition);
    -- First whatever there is, while others go on; then the little that they wrote meanwhile, while they wait. Where
    -- they read or write what is moved, they have to wait at the table: who knows its partitions already, and waits at
    -- the default one, would find nothing there or be refused.
    EXECUTE move;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved > 0 OR low <= now() THEN
        LOCK TABLE ONLY public.events IN ACCESS EXCLUSIVE MODE;
    END IF;
    LOCK TABLE public.events_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE move;
    EXECUTE format(
        'ALTER TABLE public.events ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', partition, low, high);
    EXECUTE format('ALTER TABLE public.%I DROP CONSTRAINT bounds', partition);

    -- What the owner's default privileges gave away: events are reached through their table only.
    SELECT string_agg(DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END, ', ') INTO others
    FROM pg_class, aclexplode(relacl)
    WHERE pg_class.oid = to_regclass('public.' || partition) AND grantee <> relowner;
    IF others IS NOT NULL THEN
        EXECUTE format('REVOKE ALL ON public.%I FROM %s', partition, others);
    END IF;
    RETURN partition;
END
$$
"""

DROP_MONTH = """
CREATE FUNCTION events_drop_month(older_than interval) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET timezone = 'UTC' SET lock_timeout = '200ms'
AS $$
DECLARE
    oldest text;
BEGIN
    -- The floor is here and not in the service: nobody who has got hold of its role makes the last days disappear.
    SELECT relname INTO oldest
    FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = 'public.events'::regclass
        AND relname ~ '^events_[0-9]{4}_[0-9]{2}$'
        AND to_date(substr(relname, 8), 'YYYY_MM') + interval '1 month'
            <= now() - greatest(older_than, interval '30 days')
    ORDER BY relname
    LIMIT 1;
    IF oldest IS NOT NULL THEN
        EXECUTE format('DROP TABLE public.%I', oldest);
    END IF;
    RETURN oldest;
END
$$
"""

FORGET_PERSON = """
CREATE FUNCTION events_forget_person(person bigint) RETURNS bigint
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
    RETURN forgotten;
END
$$
"""

FUNCTIONS = ("events_make_month()", "events_drop_month(interval)", "events_forget_person(bigint)")

# Whoever was given the table by the owner's default privileges may read it, add to it and call the functions. Not even
# the instant of an event is theirs to choose.
APPEND_ONLY = """
DO $$
DECLARE
    other text;
BEGIN
    REVOKE ALL ON FUNCTION events_make_month(), events_drop_month(interval), events_forget_person(bigint) FROM PUBLIC;
    FOR other IN
        SELECT DISTINCT grantee::regrole::text FROM pg_class, aclexplode(relacl)
        WHERE pg_class.oid = 'events'::regclass AND grantee NOT IN (0, relowner)
    LOOP
        EXECUTE format('REVOKE ALL ON events, events_default FROM %s', other);
        EXECUTE format('GRANT SELECT ON events TO %s', other);
        EXECUTE format(
            'GRANT INSERT (user_id, kind, outcome, session_id, address, device, details) ON events TO %s', other);
        EXECUTE format(
            'GRANT EXECUTE ON FUNCTION events_make_month(), events_drop_month(interval), events_forget_person(bigint)'
            ' TO %s', other);
    END LOOP;
END
$$
"""


def in_current_schema(function: str) -> str:
    """The function with the schema of this database instead of `public`; quote_ident quotes what needs quotes."""
    if op.get_context().as_sql:
        return function
    schema = op.get_bind().scalar(sa.text("SELECT quote_ident(current_schema())"))
    return function.replace("public", schema)


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
    op.create_index(
        "ix_events_failures",
        "events",
        [sa.text("coalesce(user_id, 0)"), "at"],
        postgresql_where=sa.text("outcome = 'failure'"),
    )
    # Whatever no month was made for lands here, and is not lost; `manage.py maintenance` makes months ahead.
    op.execute("CREATE TABLE events_default PARTITION OF events DEFAULT")
    for function in (MAKE_MONTH, DROP_MONTH, FORGET_PERSON, APPEND_ONLY):
        op.execute(in_current_schema(function))
    for _ in range(4):
        op.execute("SELECT events_make_month()")


def downgrade() -> None:
    for function in FUNCTIONS:
        op.execute("DROP FUNCTION " + function)
    op.drop_table("events")
