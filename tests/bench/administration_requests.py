"""Benchmark requests of administration: user search at many users, permission checks of users with many roles."""

import base64
import json
import random
from collections.abc import Callable, Sequence
from contextlib import closing

import psycopg2

from tests.bench.load import VirtualUser, request
from tests.bench.session_requests import Accounts
from tests.bench.testbed import Testbed

SEARCH = "/api/v1/admin/users"
CHECK = "/api/v1/roles/check_permissions"
ADMINISTRATORS = 4
"""Connections of the search. Few people administer a portal; with 32 connections the queue would be measured."""

USERS_WITH_ROLES = 16
ROLES = """
INSERT INTO roles (name) SELECT 'ROLE_NUMBER_' || n FROM generate_series(1, 197) AS n;
INSERT INTO role_permissions (role, permission)
SELECT 'ROLE_NUMBER_' || n, 'films:number_' || n FROM generate_series(1, 197) AS n;
INSERT INTO user_roles (user_id, role)
SELECT u, 'ROLE_NUMBER_' || n FROM unnest(%(users)s) AS u, generate_series(1, 19) AS n
"""

Search = Callable[[Callable[[int], str]], Callable[[], VirtualUser]]
"""Takes the function that makes a query string of a number; returns what makes the users of a load."""


def searches(testbed: Testbed, database_url: str, *, users: int) -> Search:
    """Searches of a service that may read users; each gets a query string from a random number up to `users`."""
    headers = [f"Authorization: Bearer {testbed.service_key(database_url, 'search', 'users:read')}"]

    def of(path: Callable[[int], str]) -> Callable[[], VirtualUser]:
        def user() -> VirtualUser:
            while True:
                number = random.randint(1, users)
                yield request("GET", f"{SEARCH}{path(number)}", headers=headers, expects=200)

        return user

    return of


def user_id(access_token: str) -> int:
    """The user of an access token."""
    payload = access_token.split(".")[1]
    return int(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"])


def give_roles(database_url: str, accounts: Accounts) -> Sequence[str]:
    """Create 200 roles in all and give 20 to a few users; return their access tokens."""
    tokens = accounts.access_tokens[:USERS_WITH_ROLES]
    users = sorted({user_id(token) for token in tokens})
    with closing(psycopg2.connect(database_url.replace("+psycopg2", ""))) as connection, connection.cursor() as cursor:
        cursor.execute(ROLES, {"users": users})
        connection.commit()
        connection.autocommit = True
        cursor.execute("VACUUM ANALYZE roles, role_permissions, user_roles")
    return tokens


def with_tokens(tokens: Sequence[str], path: Callable[[int], str]) -> Callable[[], VirtualUser]:
    """Users who repeat one GET about themselves."""
    requests = [
        request("GET", path(user_id(token)), expects=200, headers=[f"Authorization: Bearer {token}"])
        for token in tokens
    ]

    def user() -> VirtualUser:
        while True:
            yield random.choice(requests)

    return user
