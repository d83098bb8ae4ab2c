"""Roles of an accepted invitation: those that the inviter may still grant when the link is used."""

from collections.abc import Callable

import pytest
from flask import Flask

from auth_service.cli.service_keys import service_keys
from tests.support.actors import PASSWORD, ApiClient, Mailbox
from tests.support.administration import AdminClient, Administration
from tests.support.invitations import accept, accepted_event, roles_of, token_of
from tests.support.stores import Query

ADMIN, EDITOR, USER = "ROLE_PORTAL_ADMIN", "ROLE_EDITOR", "ROLE_PORTAL_USER"


def withdraw_role(administration: Administration, admin: AdminClient, inviter: AdminClient, query: Query) -> None:
    admin.data("DELETE", f"/users/{inviter.user_id}/roles/ROLE_OF_INVITER")


def narrow_role(administration: Administration, admin: AdminClient, inviter: AdminClient, query: Query) -> None:
    admin.data("PATCH", "/roles/ROLE_OF_INVITER", json={"permissions": ["users:invite"]})


def withdraw_invite(administration: Administration, admin: AdminClient, inviter: AdminClient, query: Query) -> None:
    admin.data("PATCH", "/roles/ROLE_OF_INVITER", json={"permissions": ["films:edit"]})


def extend_role(administration: Administration, admin: AdminClient, inviter: AdminClient, query: Query) -> None:
    admin.data("PATCH", f"/roles/{EDITOR}", json={"permissions": ["films:edit", "users:ban"]})


def delete_role(administration: Administration, admin: AdminClient, inviter: AdminClient, query: Query) -> None:
    admin.data("DELETE", f"/roles/{EDITOR}")


def delete_inviter(administration: Administration, admin: AdminClient, inviter: AdminClient, query: Query) -> None:
    assert inviter.call("DELETE", "/users/me", json={"password": PASSWORD}).status_code == 200


def ban_inviter(administration: Administration, admin: AdminClient, inviter: AdminClient, query: Query) -> None:
    query(
        "UPDATE users SET banned_until = 'infinity', banned_at = now(), ban_reason = 'Spam.' WHERE id = %s",
        inviter.user_id,
    )


@pytest.mark.parametrize(
    "change",
    [withdraw_role, narrow_role, withdraw_invite, extend_role, delete_role, delete_inviter, ban_inviter],
    ids=lambda change: change.__name__,
)
def test_ad7_roles_that_the_inviter_cannot_grant_any_more_are_not_granted_and_recorded(
    admin: AdminClient,
    administration: Administration,
    mailbox: Mailbox,
    api: ApiClient,
    query: Query,
    change: Callable[..., None],
) -> None:
    administration.role(EDITOR, "films:edit")
    inviter = administration.with_permissions("inviter@example.org", "users:invite", "films:edit")
    token = token_of(inviter, mailbox, roles=[EDITOR])
    change(administration, admin, inviter, query)

    answer = accept(api, token, password=PASSWORD)

    assert answer.status_code == 200, answer.text
    assert answer.get_json()["data"]["roles"] == [USER]
    assert roles_of(query) == [USER]
    assert accepted_event(query) == {
        "state": ["open", "accepted"],
        "roles": [[], []],
        "refused_roles": [[], [EDITOR]],
    }
    assert query("SELECT 1 FROM events WHERE kind = 'role.granted' AND details ->> 'role' = %s", EDITOR) == []


def test_ad7_a_ban_of_the_inviter_that_has_expired_does_not_matter(
    admin: AdminClient, administration: Administration, mailbox: Mailbox, api: ApiClient, query: Query
) -> None:
    administration.role(EDITOR, "films:edit")
    token = token_of(admin, mailbox, roles=[EDITOR])
    query("UPDATE users SET banned_until = now(), banned_at = now(), ban_reason = 'Spam.' WHERE id = %s", admin.user_id)

    assert accept(api, token).get_json()["data"]["roles"] == [EDITOR, USER]


def test_ad7_only_the_roles_that_fail_the_check_are_left_out(
    admin: AdminClient, administration: Administration, mailbox: Mailbox, api: ApiClient, query: Query
) -> None:
    administration.role(EDITOR, "films:edit")
    administration.role("ROLE_VIEWER", "films:view")
    inviter = administration.with_permissions("inviter@example.org", "users:invite", "films:edit", "films:view")
    token = token_of(inviter, mailbox, roles=[EDITOR, "ROLE_VIEWER"])
    admin.data("PATCH", "/roles/ROLE_OF_INVITER", json={"permissions": ["users:invite", "films:view"]})

    assert accept(api, token).get_json()["data"]["roles"] == [USER, "ROLE_VIEWER"]

    assert accepted_event(query)["refused_roles"] == [[], [EDITOR]]


@pytest.mark.parametrize("end", ["expired", "revoked", "valid"])
def test_ad7_the_roles_of_a_service_key_are_granted_while_the_key_is_valid(
    app: Flask, administration: Administration, mailbox: Mailbox, api: ApiClient, query: Query, end: str
) -> None:
    administration.role(EDITOR, "films:edit")
    service = administration.service("users:invite", "films:edit")
    token = token_of(service, mailbox, roles=[EDITOR])
    if end == "expired":
        query("UPDATE service_keys SET created_at = now() - interval '2 days', expires_at = now() - interval '1 day'")
    elif end == "revoked":
        [(key_id,)] = query("SELECT id FROM service_keys")
        assert app.test_cli_runner().invoke(service_keys, ["revoke", key_id]).exit_code == 0

    roles = accept(api, token).get_json()["data"]["roles"]

    assert roles == ([EDITOR, USER] if end == "valid" else [USER])
