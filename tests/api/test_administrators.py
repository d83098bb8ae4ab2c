"""Administrators: the first one proves control of an address, one always remains, no deadlock between the paths."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.server.wsgi import wait_for_dependencies
from auth_service.settings import SettingsRefused
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox
from tests.support.administration import AdminClient, Administration
from tests.support.application import MakeApp

pytestmark = pytest.mark.slow

Query = Callable[..., list[Any]]
ADMIN = "ROLE_PORTAL_ADMIN"


@pytest.fixture
def first(make_app: MakeApp) -> Flask:
    """A deployment whose first administrator is Ada."""
    return make_app(first_administrator=ADA)


@pytest.fixture
def first_mailbox(first: Flask, tmp_path: Path) -> Mailbox:
    return Mailbox(first, DevInbox(tmp_path / "inbox"))


def roles_of(query: Query, user_id: int) -> set[str]:
    return {role for (role,) in query("SELECT role FROM user_roles WHERE user_id = %s", user_id)}


def administrators(query: Query) -> int:
    [(count,)] = query(
        "SELECT count(*) FROM user_roles JOIN users ON id = user_id"
        " WHERE role = 'ROLE_PORTAL_ADMIN' AND banned_until IS NULL"
    )
    return int(count)


def test_ot3_the_first_administrator_is_made_by_finishing_a_registration(
    first: Flask, first_mailbox: Mailbox, query: Query
) -> None:
    user_id = ApiClient(first).register(ADA.upper(), first_mailbox, password=PASSWORD)

    assert roles_of(query, user_id) == {ADMIN, "ROLE_PORTAL_USER"}
    events = query("SELECT actor_type FROM events WHERE kind = 'role.granted' AND user_id = %s", user_id)
    assert events == [("system",)]


def test_ot3_the_first_administrator_is_made_by_a_sign_in_with_an_emailed_code(
    first: Flask, first_mailbox: Mailbox, app: Flask, mailbox: Mailbox, query: Query
) -> None:
    user_id = ApiClient(app).register(ADA, mailbox, password=PASSWORD)
    api = ApiClient(first)

    api.signed_in(ADA, PASSWORD)
    assert roles_of(query, user_id) == {"ROLE_PORTAL_USER"}, "a password proves no control of the address"
    api.ask_to_sign_in(ADA)
    answer = api.sign_in_by_code(ADA, first_mailbox.code_sent_to(ADA))

    assert answer.status_code == 200
    assert roles_of(query, user_id) == {ADMIN, "ROLE_PORTAL_USER"}
    me = api.with_token(answer.get_json()["data"]["access_token"], "GET", "/me").get_json()["data"]
    assert ADMIN in me["roles"]


def test_ot3_another_address_and_a_second_user_do_not_become_administrator(
    first: Flask, first_mailbox: Mailbox, query: Query
) -> None:
    other = ApiClient(first).register("grace@example.org", first_mailbox, password=PASSWORD)
    Administration(first, first_mailbox).administrator("admin@example.org")

    ada = ApiClient(first).register(ADA, first_mailbox, password=PASSWORD)

    assert roles_of(query, other) == roles_of(query, ada) == {"ROLE_PORTAL_USER"}


def test_ot3_an_attacker_who_signs_up_the_address_first_gains_nothing(
    make_app: MakeApp, tmp_path: Path, query: Query
) -> None:
    first = make_app(app_env="production", first_administrator=ADA)
    first_mailbox = Mailbox(first, DevInbox(tmp_path / "inbox"))
    attacker, owner = ApiClient(first, address="198.51.100.9"), ApiClient(first)
    user_id = attacker.sign_up(ADA)
    attacker.ask_for_code(user_id)
    assert attacker.finish(user_id, password=PASSWORD).status_code == 409
    owner.ask_for_code(user_id)
    assert owner.confirm(user_id, first_mailbox.code_sent_to(ADA)).status_code == 200

    assert attacker.finish(user_id, password="a password of the attacker").status_code == 409
    assert owner.finish(user_id, password=PASSWORD).status_code == 200

    assert ADMIN in roles_of(query, user_id)


def test_ot3_concurrent_requests_make_one_administrator(first: Flask, first_mailbox: Mailbox, query: Query) -> None:
    api = ApiClient(first)
    user_id = api.sign_up(ADA)
    api.ask_for_code(user_id)
    api.confirm(user_id, first_mailbox.code_sent_to(ADA))
    clients = [ApiClient(first) for _ in range(10)]
    ticket = api.client.get_cookie("registration", path="/api/v1/users")

    def finish(client: ApiClient) -> int:
        if ticket is not None:
            client.client.set_cookie("registration", ticket.value, path="/api/v1/users")
        return client.finish(user_id).status_code

    with ThreadPoolExecutor(len(clients)) as pool:
        statuses = list(pool.map(finish, clients))

    assert api.finish(user_id).status_code == 200
    assert set(statuses) <= {200, 409}
    assert administrators(query) == 1
    assert len(query("SELECT 1 FROM events WHERE kind = 'role.granted'")) == 1


def test_r2_the_last_administrator_cannot_delete_the_own_account(administration: Administration, query: Query) -> None:
    admin = administration.administrator()

    assert admin.error("DELETE", "/users/me", json={"password": PASSWORD}) == (409, "last_administrator")

    administration.administrator("other@example.org")
    assert admin.call("DELETE", "/users/me", json={"password": PASSWORD}).status_code == 200
    assert administrators(query) == 1


def revoke(actor: AdminClient, target: AdminClient) -> int:
    return actor.call("DELETE", f"/users/{target.user_id}/roles/{ADMIN}").status_code


def delete_own(actor: AdminClient, target: AdminClient) -> int:
    return actor.call("DELETE", "/users/me", json={"password": PASSWORD}).status_code


def ban(actor: AdminClient, target: AdminClient) -> int:
    return actor.call("PUT", f"/admin/users/{target.user_id}/ban", json={"reason": "a test"}).status_code


def delete(actor: AdminClient, target: AdminClient) -> int:
    return actor.call("DELETE", f"/admin/users/{target.user_id}", json={"reason": "a test"}).status_code


PATHS = (revoke, ban, delete, delete_own)
"""The operations that can reduce the number of administrators. The deletion after the grace period comes with it."""


@pytest.mark.parametrize(
    "rounds",
    [pytest.param(5, id="short"), pytest.param(50, id="long", marks=[pytest.mark.chaos, pytest.mark.timeout(3600)])],
)
@pytest.mark.parametrize(("first_path", "second_path"), list(combinations_with_replacement(PATHS, 2)))
@pytest.mark.usefixtures("no_deadlock")
def test_ro4_two_administrators_who_remove_each_other_concurrently_leave_one(
    first_path: Callable[[AdminClient, AdminClient], int],
    second_path: Callable[[AdminClient, AdminClient], int],
    make_app: MakeApp,
    mailbox: Mailbox,
    query: Query,
    rounds: int,
) -> None:
    administration = Administration(make_app(rate_limits="off"), mailbox)
    expected = {200, 401, 403, 409}
    if {first_path, second_path} & {delete, delete_own}:
        expected.add(404)  # of the later request, about a user who is deleted
    for number in range(rounds):
        query("DELETE FROM users")
        one, two = (administration.administrator(f"a{number}{name}@example.org") for name in "xy")
        with ThreadPoolExecutor(2) as pool:
            results = [pool.submit(first_path, one, two), pool.submit(second_path, two, one)]

        statuses = {result.result() for result in results}
        assert administrators(query) == 1
        assert statuses <= expected


def test_an_unknown_role_in_second_factor_roles_keeps_the_service_from_starting(make_app: MakeApp) -> None:
    app = make_app(second_factor_roles="ROLE_PORTAL_ADMIN,ROLE_UNKNOWN")

    with app.app_context():
        troubles = wait_for_dependencies(app.extensions["auth_service"])

    assert troubles == ["SECOND_FACTOR_ROLES: there is no role ROLE_UNKNOWN"]


@pytest.mark.parametrize("value", ["ops@bad..example", "ops@-example.org", "root@localhost", '"ops"@example.org'])
def test_an_invalid_first_administrator_is_refused_at_the_start_without_its_value(
    make_app: MakeApp, value: str
) -> None:
    with pytest.raises(SettingsRefused, match=r"^FIRST_ADMINISTRATOR: ") as refused:
        make_app(first_administrator=value)

    assert value not in str(refused.value)
