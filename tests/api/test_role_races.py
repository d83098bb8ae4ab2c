"""Races of roles: concurrent grants and revocations of one user are carried out, recorded and counted once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.support.actors import ADA, Mailbox
from tests.support.administration import AdminClient, Administration

Query = Callable[..., list[Any]]


def test_ro6_concurrent_equal_changes_are_recorded_and_notified_once(
    admin: AdminClient, administration: Administration, mailbox: Mailbox, query: Query
) -> None:
    administration.role("ROLE_EDITOR", "films:edit")
    user = administration.user(ADA)
    mailbox.deliver()
    path = f"/users/{user.user_id}/roles/ROLE_EDITOR"
    for method in ("PUT", "DELETE"):
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(admin.call, [method] * 8, [path] * 8))
        assert {answer.status_code for answer in answers} == {200}

    kinds = query("SELECT kind FROM events WHERE kind LIKE 'role.%%' AND user_id = %s", user.user_id)
    assert sorted(kinds) == [("role.granted",), ("role.withdrawn",)]
    assert len([message for message in mailbox.letters_to(ADA) if "role" in message.subject]) == 2


def test_ro1_concurrent_grants_do_not_exceed_the_number_of_roles(
    admin: AdminClient, administration: Administration, query: Query
) -> None:
    user = administration.user(ADA)
    query("INSERT INTO roles (name) SELECT 'ROLE_N' || n FROM generate_series(1, 30) n")
    administration.grant(user.user_id or 0, *(f"ROLE_N{number}" for number in range(1, 19)))

    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda number: admin.call("PUT", f"/users/{user.user_id}/roles/ROLE_N{number}"), range(20, 28))
        )

    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 7]
