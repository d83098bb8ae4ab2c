"""Cost of roles: reading the current user costs the same with many roles as with one."""

from collections.abc import Callable
from typing import Any

from flask import Flask

from tests.support.actors import ADA, Mailbox
from tests.support.administration import AdminClient, Administration
from tests.support.statements import statements

Query = Callable[..., list[Any]]

ROLES = """
INSERT INTO roles (name, description) SELECT 'ROLE_NUMBER_' || n, 'number ' || n FROM generate_series(1, 197) n;
INSERT INTO role_permissions SELECT 'ROLE_NUMBER_' || n, 'films:number_' || n FROM generate_series(1, 197) n
"""
ROLES_OF_USER = """
INSERT INTO user_roles SELECT id, 'ROLE_NUMBER_' || n FROM users, generate_series(1, 19) n WHERE email = %s
"""


def sent_by(app: Flask, client: AdminClient, path: str) -> list[str]:
    """The statements of a request, without the values of their parameters."""
    client.data("GET", path)
    with statements(app) as sent:
        client.data("GET", path)
    return [text.partition("(")[0] for text, _ in sent]


def test_ro7_the_current_user_costs_as_many_statements_with_twenty_roles_of_two_hundred_as_with_one(
    app: Flask, mailbox: Mailbox, query: Query
) -> None:
    ada = Administration(app, mailbox).user(ADA)
    check = f"/roles/check_permissions?user_id={ada.user_id}&permission=films:number_7"
    with_one_role = [sent_by(app, ada, path) for path in ("/users/me", check)]
    assert ada.data("GET", check)["allowed"] is False

    query(ROLES)
    query(ROLES_OF_USER, ADA)

    assert query("SELECT count(*) FROM roles") == [(200,)]
    assert len(ada.data("GET", "/users/me")["roles"]) == 20
    assert ada.data("GET", check)["allowed"] is True
    assert [sent_by(app, ada, path) for path in ("/users/me", check)] == with_one_role
    assert len(with_one_role[0]) == 1
