"""Query plans of the user search: every combination of filters reads along indexes, as with millions of users."""

import itertools
from collections.abc import Iterator

import pytest
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy.engine import make_url

from auth_service.adapters.email.dev_inbox import DevInbox
from tests.support.actors import Mailbox
from tests.support.administration import AdminClient, Administration
from tests.support.application import MakeApp, forget
from tests.support.statements import statements
from tests.support.stores import Query, Stores, asking, temporary_database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SEED = """
-- So many that PostgreSQL plans as for millions.
INSERT INTO users (id, email, email_key, verified_mail, verified_at, language, created_at,
  banned_until, banned_at, ban_reason)
SELECT n * 5851543129231 % 9007199254740992, key, key, n % 10 > 0, CASE WHEN n % 10 > 0 THEN now() END, 'en',
  now() - n * interval '1 second', CASE n % 1000 WHEN 0 THEN 'infinity' WHEN 1 THEN now() - interval '1 day' END,
  CASE WHEN n % 1000 < 2 THEN now() END, CASE WHEN n % 1000 < 2 THEN 'spam' END
FROM (
  SELECT n, CASE n % 3 WHEN 0 THEN 'person' || n WHEN 1 THEN md5(n::text) ELSE 'al' || n % 1000 || '.' || n END
    || '@example.org' AS key
  FROM generate_series(1::bigint, 100000) AS n
) AS numbered;
INSERT INTO roles (name) VALUES ('ROLE_EDITOR'), ('ROLE_RARE');
INSERT INTO user_roles SELECT id, CASE WHEN verified_mail THEN 'ROLE_PORTAL_USER' ELSE 'ROLE_TEMPORARY_USER' END
FROM users WHERE email LIKE '%@example.org' ON CONFLICT DO NOTHING;
INSERT INTO user_roles SELECT id, 'ROLE_EDITOR' FROM users WHERE id % 100 = 0;
INSERT INTO user_roles SELECT id, 'ROLE_RARE' FROM users ORDER BY id LIMIT 20;
ANALYZE users;
ANALYZE user_roles
"""

EMAILS = (None, "person3000@example.org")
PREFIXES = (None, "per", "al77.7", "zzz")
"""A third of the users, a few, and none."""
STATUSES = (None, "active", "temporary", "banned")
ROLES = (None, "ROLE_PORTAL_USER", "ROLE_TEMPORARY_USER", "ROLE_EDITOR", "ROLE_RARE", "ROLE_UNKNOWN")


@pytest.fixture(scope="module")
def many_users(
    make_app: MakeApp, stores: Stores, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Flask, AdminClient, Query]]:
    """An application over a database of its own with many users, a client that may read them, and its statements."""
    name = f"{make_url(stores.database_url).database}_many_users"
    url = make_url(stores.database_url).set(database=name).render_as_string(hide_password=False)
    with temporary_database(stores.database_url, name):
        app = make_app(database_url=url, rate_limits="off")
        with app.app_context():
            upgrade()
        query = asking(url)
        query(SEED)
        administration = Administration(app, Mailbox(app, DevInbox(tmp_path_factory.mktemp("inbox"))))
        yield app, administration.service("users:read"), query
        forget(app)


def plans(many_users: tuple[Flask, AdminClient, Query], path: str, filters: dict[str, str]) -> list[str]:
    """The lines of the plans of what a request reads from the users."""
    app, client, query = many_users
    with statements(app) as sent:
        client.data("GET", path, query_string=filters)
    texts = [text for text, _ in sent]
    searches = [text for text in texts if "FROM users" in text]
    if not searches:
        return []
    [search] = searches
    [planner_settings] = [text for text in texts if "set_config" in text]
    return [line for (line,) in query(f"{planner_settings}; EXPLAIN {search}")]


@pytest.mark.parametrize("path", ["/admin/users", "/admin/users/count"])
def test_ad1_every_combination_of_filters_reads_along_indexes(
    many_users: tuple[Flask, AdminClient, Query], path: str
) -> None:
    wrong, planned = [], 0
    for values in itertools.product(EMAILS, PREFIXES, STATUSES, ROLES):
        names = ("email", "query", "status", "role")
        filters = {name: value for name, value in zip(names, values, strict=True) if value is not None}
        plan = "\n".join(plans(many_users, path, filters))
        planned += bool(plan)
        if "Seq Scan" in plan or "Parallel" in plan or (plan and "Index" not in plan):
            wrong.append((filters, plan))

    assert wrong == []
    assert planned > 100


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({}, "ix_users_created_at_id"),
        ({"email": "person3000@example.org"}, "uq_users_email_key|ix_users_email_key_prefix"),
        ({"query": "al77.7"}, "ix_users_email_key_prefix|uq_users_email_key"),
        ({"status": "active"}, "ix_users_created_at_id"),
        ({"status": "temporary"}, "ix_users_temporary"),
        ({"status": "banned"}, "ix_users_banned"),
        ({"role": "ROLE_RARE"}, "ix_user_roles_role"),
    ],
)
def test_ad1_a_page_uses_the_index_of_its_filter(
    many_users: tuple[Flask, AdminClient, Query], filters: dict[str, str], index: str
) -> None:
    for extra in ({}, {"limit": "50"}):
        plan = "\n".join(plans(many_users, "/admin/users", {**filters, **extra}))

        assert any(f" {name} " in plan for name in index.split("|")), plan


def test_ad1_the_next_page_begins_in_the_index(many_users: tuple[Flask, AdminClient, Query]) -> None:
    _, client, _ = many_users
    cursor = client.call("GET", "/admin/users?limit=50").get_json()["next_cursor"]

    plan = "\n".join(plans(many_users, "/admin/users", {"limit": "50", "cursor": cursor}))

    assert "Index Cond: (ROW(created_at, id) < ROW(" in plan


def test_ad1_counting_stops_at_ten_thousand(many_users: tuple[Flask, AdminClient, Query]) -> None:
    _, client, query = many_users
    for filters in ("", "?status=active", "?query=per", "?role=ROLE_PORTAL_USER"):
        assert client.data("GET", f"/admin/users/count{filters}") == {"count": 10_000, "complete": False}, filters

    [(temporary,)] = query("SELECT count(*) FROM users WHERE NOT verified_mail AND banned_until IS NULL")
    assert temporary < 10_000
    assert client.data("GET", "/admin/users/count?status=temporary")["complete"]


def test_ad1_the_pages_and_the_count_of_a_search_agree(many_users: tuple[Flask, AdminClient, Query]) -> None:
    _, client, _ = many_users
    for filters in ("query=al77.7", "role=ROLE_EDITOR&status=active", "status=banned"):
        counted = client.data("GET", f"/admin/users/count?{filters}")
        assert counted == {"count": users_on_pages(client, filters), "complete": True}, filters


def users_on_pages(client: AdminClient, filters: str) -> int:
    """How many users the pages of a search have."""
    count, cursor = 0, ""
    while True:
        body = client.call("GET", f"/admin/users?limit=50&{filters}{cursor}").get_json()
        count += len(body["data"])
        if body["next_cursor"] is None:
            return count
        cursor = f"&cursor={body['next_cursor']}"
