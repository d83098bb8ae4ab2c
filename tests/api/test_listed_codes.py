"""Error codes that an operation lists and that no other test produces there (OA2): rules of several operations."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_service.db.advisory_locks import Lock
from auth_service.models.permission import Permission
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.administration import AdminClient, Administration
from tests.support.application import MakeApp
from tests.support.authenticator import Authenticator
from tests.support.delayed_reset import RESET
from tests.support.passkeys import MINE, REAUTHENTICATE, SECOND_STEP, PasskeyUser, begun, by_password
from tests.support.second_factor import enrolled
from tests.support.statements import LOCK_WAITS
from tests.support.stores import Query, Stores, asking

UNKNOWN_USER = 5
"""An id that no user has."""
BAN = "UPDATE users SET banned_until = 'infinity', banned_at = now(), ban_reason = 'Spam' WHERE id = {}"
"""A ban that leaves the sessions as they are, as a concurrent one does for a moment."""
BODY = {"json": {"reason": "Spam in the comments"}}
Outcome = tuple[int, str]


@pytest.fixture
def service(administration: Administration) -> AdminClient:
    """A service with every permission that is built in."""
    return administration.service(*Permission, base="/api/srv")


def named(user_id: int | None, role: str) -> dict[str, Any]:
    """A grant, as clients of the reference implementation name it."""
    return {"user_id": user_id, "role_id": role}


def test_oa2_a_grant_has_the_same_errors_under_every_path(
    admin: AdminClient, service: AdminClient, administration: Administration, api: ApiClient, query: Query
) -> None:
    administration.role("ROLE_EDITOR", "films:edit")
    user, temporary = administration.user(ADA), api.sign_up("grace@example.org")
    query("INSERT INTO roles (name) SELECT 'ROLE_N' || n FROM generate_series(1, 20) n")
    full = administration.user("full@example.org", *(f"ROLE_N{number}" for number in range(1, 20)))

    for caller in (admin, service):

        def grant(user_id: int | None, role: str, caller: AdminClient = caller) -> Outcome:
            return caller.error("POST", "/roles", json=named(user_id, role))

        assert grant(UNKNOWN_USER, "ROLE_N1") == (404, "user_unknown")
        assert grant(user.user_id, "ROLE_UNKNOWN") == (404, "role_unknown")
        assert grant(user.user_id, "ROLE_PORTAL_USER") == (409, "role_is_system")
        assert grant(temporary, "ROLE_N1") == (409, "mail_not_confirmed")
        assert grant(full.user_id, "ROLE_N20") == (409, "limit_reached")
    assert service.error("POST", "/roles", json=named(user.user_id, "ROLE_EDITOR")) == (403, "beyond_your_own")


def test_oa2_a_revocation_has_the_same_errors_under_every_path(
    admin: AdminClient, service: AdminClient, administration: Administration
) -> None:
    administration.role("ROLE_EDITOR", "films:edit")
    user = administration.user(ADA, "ROLE_EDITOR")
    granter = administration.with_permissions("granter@example.org", "roles:grant")

    def by_path(caller: AdminClient, user_id: int | None, role: str) -> Outcome:
        return caller.error("DELETE", f"/users/{user_id}/roles/{role}")

    def by_query(caller: AdminClient, user_id: int | None, role: str) -> Outcome:
        return caller.error("DELETE", "/roles", query_string=named(user_id, role))

    for revoke, caller, other in ((by_path, admin, granter), (by_query, admin, granter), (by_query, service, service)):
        assert revoke(caller, UNKNOWN_USER, "ROLE_EDITOR") == (404, "user_unknown")
        assert revoke(caller, user.user_id, "ROLE_UNKNOWN") == (404, "role_unknown")
        assert revoke(caller, user.user_id, "ROLE_PORTAL_USER") == (409, "role_is_system")
        assert revoke(other, user.user_id, "ROLE_EDITOR") == (403, "beyond_your_own")
    assert by_query(admin, admin.user_id, "ROLE_PORTAL_ADMIN") == (409, "last_administrator")
    assert by_query(service, admin.user_id, "ROLE_PORTAL_ADMIN") == (403, "beyond_your_own")


def test_oa2_roles_have_the_same_errors_for_services(
    admin: AdminClient, service: AdminClient, administration: Administration, query: Query
) -> None:
    administration.role("ROLE_EDITOR", "films:edit")
    administration.role("ROLE_IN_USE")
    administration.user(ADA, "ROLE_IN_USE")
    many = [f"films:p{number}" for number in range(101)]

    assert admin.error("PATCH", "/roles/ROLE_UNKNOWN", json={"description": "x"}) == (404, "role_unknown")
    assert admin.error("PATCH", "/roles/ROLE_EDITOR", json={"permissions": many}) == (409, "limit_reached")
    assert admin.error("DELETE", "/roles/ROLE_UNKNOWN") == (404, "role_unknown")
    for role, outcome in {
        "ROLE_IN_USE": (409, "role_in_use"),
        "ROLE_PORTAL_USER": (409, "role_is_system"),
        "ROLE_EDITOR": (403, "beyond_your_own"),
    }.items():
        assert service.error("DELETE", f"/roles/{role}/delete_role") == outcome
    checked = {"user_id": UNKNOWN_USER, "permission": "films:edit"}
    assert service.error("GET", "/roles/check_permissions", query_string=checked) == (404, "user_unknown")
    query("INSERT INTO roles (name) SELECT 'ROLE_N' || n FROM generate_series(1, 200) n")
    new = {"role_name": "ROLE_NEW"}
    assert service.error("POST", "/roles/create_role", json=new) == (409, "limit_reached")


@contextmanager
def during(stores: Stores, lock: str, *values: Any) -> Iterator[Callable[[Callable[[], Any], str], Any]]:
    """A connection that holds a lock: runs a request until it waits for the lock, then a statement, then its rest."""
    connection = psycopg2.connect(stores.database_url.replace("+psycopg2", ""))
    waits = asking(stores.database_url)

    def interrupted(request: Callable[[], Any], statement: str) -> Any:
        with ThreadPoolExecutor(1) as thread:
            answer = thread.submit(request)
            while waits(LOCK_WAITS) == [(0,)]:
                assert not answer.done(), answer.result()
                time.sleep(0.005)
            connection.cursor().execute(statement)
            connection.commit()
            return answer.result()

    try:
        connection.cursor().execute(lock, values)
        yield interrupted
    finally:
        connection.close()


@pytest.mark.undisturbed
@pytest.mark.parametrize(("method", "path"), [("PUT", "/ban"), ("DELETE", "")])
def test_r2_an_administrator_whose_role_is_revoked_meanwhile_cannot_remove_the_last_one(
    admin: AdminClient, administration: Administration, stores: Stores, method: str, path: str
) -> None:
    other = administration.administrator("other@example.org")

    def remove() -> Outcome:
        return other.error(method, f"/admin/users/{admin.user_id}{path}", **BODY)

    with during(stores, "SELECT pg_advisory_xact_lock(%s)", Lock.ADMINISTRATORS.value) as interrupted:
        outcome = interrupted(remove, f"DELETE FROM user_roles WHERE user_id = {other.user_id}")
    assert outcome == (409, "last_administrator")


@pytest.mark.undisturbed
@pytest.mark.parametrize("operation", ["change_my_password", "delete_my_account"])
def test_oa2_an_account_that_changes_meanwhile_is_not_changed_by_an_older_request(
    ada: int, token: str, api: ApiClient, stores: Stores, operation: str
) -> None:
    requests: dict[str, Callable[[], Any]] = {
        "change_my_password": lambda: api.change_password(token, PASSWORD, f"{PASSWORD} again"),
        "delete_my_account": lambda: api.leave(token, password=PASSWORD),
    }
    with during(stores, "SELECT FROM users WHERE id = %s FOR UPDATE", ada) as interrupted:
        change = f"UPDATE users SET credential_version = credential_version + 1 WHERE id = {ada}"
        answer = interrupted(requests[operation], change)
    assert (answer.status_code, refusal(answer)["code"]) == (409, "account_changed")


@pytest.mark.undisturbed
@pytest.mark.parametrize("operation", ["register_passkey", "reauthenticate_with_passkey"])
def test_oa2_an_account_that_is_banned_meanwhile_gets_no_session_by_a_passkey(
    ada: int, make_app: MakeApp, mailbox: Mailbox, stores: Stores, operation: str
) -> None:
    app = make_app(second_factor_roles=("ROLE_EDITOR",))
    user, authenticator = by_password(ApiClient(app)), Authenticator()
    if operation == "register_passkey":
        administration = Administration(app, mailbox)
        administration.role("ROLE_EDITOR", "films:edit")
        administration.grant(ada, "ROLE_EDITOR")  # the session is restricted, and the passkey opens another one
        path, data = MINE, user.begin()
        credential = authenticator.create(data["options"])
    else:
        user.register(authenticator)
        path, data = REAUTHENTICATE, user.begin(REAUTHENTICATE)
        credential = authenticator.get(data["options"])
    body = {"credential": credential, "ticket": data["ticket"]}

    with during(stores, "SELECT FROM users WHERE id = %s FOR UPDATE", ada) as interrupted:
        answer = interrupted(lambda: user.call("POST", path, json=body), BAN.format(ada))
    assert (answer.status_code, refusal(answer)["code"]) == (409, "account_changed")


def test_oa2_a_second_step_lists_what_it_answers(ada: int, api: ApiClient, query: Query, without_redis: Flask) -> None:
    protected = enrolled(api, ADA, query)
    authenticator, _ = PasskeyUser(api, protected.access_token).register()
    ticket = {"ticket": protected.ticket()}
    data = begun(api.call("POST", f"{SECOND_STEP}/options", json=ticket))
    passkey = {"credential": authenticator.get(data["options"]), "ticket": data["ticket"]}

    away = ApiClient(without_redis).call("POST", RESET, json=ticket)
    assert (away.status_code, refusal(away)["code"]) == (503, "redis_away")
    query(f"{BAN.format(ada)} RETURNING 1")
    for path, body in ((RESET, ticket), (f"{SECOND_STEP}/options", ticket), (SECOND_STEP, passkey)):
        banned = api.call("POST", path, json=body)
        assert (banned.status_code, refusal(banned)["code"]) == (403, "account_banned"), path


def test_oa2_the_registration_lists_what_it_answers(
    make_app: MakeApp, api: ApiClient, forget_everything_in_redis: Callable[[], None]
) -> None:
    def code(answer: TestResponse) -> str:
        return str(refusal(answer)["code"])

    temporary = api.sign_up("grace@example.org")
    assert code(api.finish(UNKNOWN_USER, password=PASSWORD)) == "user_unknown"
    closed = ApiClient(make_app(sign_up="closed"))
    assert code(closed.ask_again(temporary, "7505")) == "registration_closed"
    for _ in range(10):
        assert api.ask_for_code(temporary).status_code == 200
        forget_everything_in_redis()
    assert code(api.ask_again(temporary)) == "too_many_codes"


def test_oa2_reauthentication_lists_what_it_answers(
    api: ApiClient, mailbox: Mailbox, query: Query, forget_everything_in_redis: Callable[[], None]
) -> None:
    ada = api.register(ADA, mailbox, password=PASSWORD)
    token = api.signed_in(ADA, PASSWORD)["access_token"]
    query("UPDATE users SET password_hash = NULL WHERE id = %s", ada)

    without_password = api.with_token(token, "POST", "/me/reauthenticate", json={"password": PASSWORD})
    assert refusal(without_password)["code"] == "password_not_set"
    while (answer := api.with_token(token, "POST", "/me/reauthenticate/send_code")).status_code == 200:
        forget_everything_in_redis()
    assert refusal(answer)["code"] == "too_many_codes"
    cookie = api.sign_in_by_code(ADA, "7505", transport="cookie")
    assert (cookie.status_code, refusal(cookie)["code"]) == (403, "cross_site")


@pytest.fixture
def without_redis(make_app: MakeApp) -> Flask:
    """The application while Redis refuses connections."""
    return make_app(redis_url="redis://:secret@127.0.0.1:1/0")


def test_oa2_every_operation_with_a_code_is_unavailable_without_redis(
    app: Flask, without_redis: Flask, token: str, api: ApiClient, admin: AdminClient
) -> None:
    temporary = api.sign_up("grace@example.org")
    invitation = admin.data("POST", "/invitations", json={"email": "eve@example.org"}, status=201)["id"]
    assert api.ask_to_move(token, "ada@elsewhere.org", password=PASSWORD).status_code == 200
    cut_off = ApiClient(without_redis)
    administrator = AdminClient(without_redis, admin.headers)
    code = "7505"

    requests: dict[str, Callable[[], Any]] = {
        "send_registration_code": lambda: cut_off.ask_for_code(temporary, code),
        "resend_registration_code": lambda: cut_off.ask_again(temporary, code),
        "confirm_email": lambda: cut_off.confirm(temporary, code),
        "finish_sign_up": lambda: cut_off.finish(temporary, password=PASSWORD),
        "send_sign_in_code": lambda: cut_off.ask_to_sign_in(ADA),
        "sign_in_by_code": lambda: cut_off.sign_in_by_code(ADA, code),
        "send_password_reset_code": lambda: cut_off.ask_to_recover(ADA),
        "reset_password": lambda: cut_off.recover(ADA, code, f"{PASSWORD} again"),
        "request_email_change": lambda: cut_off.ask_to_move(token, "ada@elsewhere.org", password=PASSWORD),
        "confirm_email_change": lambda: cut_off.move(token, code),
        "send_deletion_code": lambda: cut_off.ask_to_leave(token),
        "delete_my_account": lambda: cut_off.leave(token, code=code),
        "send_reauthentication_code": lambda: cut_off.with_token(token, "POST", "/me/reauthenticate/send_code"),
        "reauthenticate": lambda: cut_off.with_token(token, "POST", "/me/reauthenticate", json={"code": code}),
        "create_invitation": lambda: administrator.call("POST", "/invitations", json={"email": "bob@example.org"}),
        "resend_invitation": lambda: administrator.call("POST", f"/invitations/{invitation}/resend"),
    }

    for name, send in requests.items():
        answer = send()
        assert answer.status_code == 503, f"{name}: {answer.text}"
        assert refusal(answer)["code"] == "redis_away", name
