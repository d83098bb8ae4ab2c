"""Acceptance of invitations: the link creates or confirms a user, once, with the roles that the inviter may grant."""

from pathlib import Path

import pytest
from flask import Flask

from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.models.permission import Permission
from auth_service.wiring import Services
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.administration import AdminClient, Administration
from tests.support.application import MakeApp
from tests.support.crowds import CountingHasher
from tests.support.invitations import accept, accepted_event, read, roles_of, token_of
from tests.support.rewiring import rewired
from tests.support.stores import Query

ADMIN, EDITOR, USER = "ROLE_PORTAL_ADMIN", "ROLE_EDITOR", "ROLE_PORTAL_USER"
NO_TOKEN = "A" * 43


def test_ad7_an_invited_person_reads_the_invitation_accepts_it_with_a_password_and_signs_in(
    admin: AdminClient, administration: Administration, mailbox: Mailbox, api: ApiClient, query: Query
) -> None:
    administration.role(EDITOR, "films:edit")
    token = token_of(admin, mailbox, roles=[EDITOR], language="ru")

    offered = read(api, token).get_json()["data"]
    assert offered.keys() == {"email", "roles", "expires_at"}
    assert (offered["email"], offered["roles"]) == (ADA, [EDITOR])
    assert read(api, token).status_code == 200, "reading does not consume the token"
    answer = accept(api, token, password=PASSWORD)

    assert answer.status_code == 200, answer.text
    data = answer.get_json()["data"]
    assert {**data, "id": 0} == {"id": 0, "email": ADA, "roles": [EDITOR, USER], "verified_mail": True}
    assert "Set-Cookie" not in answer.headers
    assert query("SELECT count(*) FROM sessions WHERE user_id = %s", data["id"]) == [(0,)]
    assert query("SELECT language FROM users WHERE id = %s", data["id"]) == [("ru",)]
    me = api.with_token(api.signed_in(ADA, PASSWORD)["access_token"], "GET", "/me").get_json()["data"]
    assert (me["roles"], me["permissions"]) == ([EDITOR, USER], ["films:edit"])
    for again in (read(api, token), accept(api, token, password=PASSWORD)):
        assert (again.status_code, refusal(again)["code"]) == (404, "invitation_unknown")


def test_ad7_the_acceptance_is_recorded_with_the_invitation_the_user_and_the_inviter(
    admin: AdminClient, administration: Administration, mailbox: Mailbox, api: ApiClient, query: Query
) -> None:
    administration.role(EDITOR, "films:edit")
    user_id = accept(api, token_of(admin, mailbox, roles=[EDITOR])).get_json()["data"]["id"]

    [(invitation,)] = query("SELECT id::text FROM invitations")
    rows = query("SELECT kind, actor_type, actor_id, target_id FROM events WHERE user_id = %s ORDER BY id", user_id)
    assert rows == [
        ("registered", None, None, None),
        ("role.granted", "user", str(admin.user_id), None),
        ("invitation.accepted", None, None, invitation),
    ]
    assert accepted_event(query) == {
        "state": ["open", "accepted"],
        "roles": [[], [EDITOR]],
        "refused_roles": [[], []],
    }


def test_ad7_a_person_who_accepts_without_a_password_signs_in_with_an_emailed_code(
    admin: AdminClient, mailbox: Mailbox, api: ApiClient
) -> None:
    assert accept(api, token_of(admin, mailbox)).status_code == 200

    assert api.sign_in(ADA, PASSWORD).status_code == 401
    api.ask_to_sign_in(ADA)
    assert api.sign_in_by_code(ADA, mailbox.code_sent_to(ADA)).status_code == 200


@pytest.mark.parametrize(
    ("password", "reason"), [("short", "too_short"), ("password1", "common"), ("ada@example.org", "context")]
)
def test_ad7_a_password_that_breaks_the_rules_does_not_consume_the_link(
    admin: AdminClient, mailbox: Mailbox, api: ApiClient, password: str, reason: str
) -> None:
    token = token_of(admin, mailbox)

    refused = accept(api, token, password=password)

    assert refused.status_code == 422
    [field] = refusal(refused)["fields"]
    assert (field["field"], field["reason"]) == ("password", reason)
    assert accept(api, token, password=PASSWORD).status_code == 200


def test_ad7_unknown_expired_and_malformed_tokens_get_one_answer_and_cost_no_password_hash(
    app: Flask, admin: AdminClient, mailbox: Mailbox, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    expired = token_of(admin, mailbox)
    query("UPDATE invitations SET expires_at = now()")
    valid = token_of(admin, mailbox, email="grace@example.org")
    services: Services = app.extensions["auth_service"]
    hasher = CountingHasher(concurrent=1)
    replaced = rewired(services, services.invitation_acceptance.passwords.hasher, by=hasher)
    monkeypatch.setitem(app.extensions, "auth_service", replaced)

    answers = [
        accept(ApiClient(app), token, password=PASSWORD) for token in (NO_TOKEN, expired, valid[:-1], "x", "ключ")
    ]

    assert {answer.text for answer in answers} == {answers[0].text}
    assert {(answer.status_code, refusal(answer)["code"]) for answer in answers} == {(404, "invitation_unknown")}
    assert hasher.hashed == []
    assert accept(ApiClient(app), valid, password=PASSWORD).status_code == 200
    assert hasher.hashed == [PASSWORD]


def test_cd9_a_temporary_user_accepts_and_every_other_ticket_of_the_address_becomes_invalid(
    admin: AdminClient, mailbox: Mailbox, production: Flask, query: Query
) -> None:
    owner, other = ApiClient(production), ApiClient(production, address="198.51.100.9")
    user_id = other.sign_up(ADA)
    other.ask_for_code(user_id)
    owner.ask_for_code(user_id)
    code = mailbox.code_sent_to(ADA)
    assert owner.confirm(user_id, code).status_code == 200
    token = token_of(admin, mailbox)

    assert accept(ApiClient(production), token, password=PASSWORD).get_json()["data"]["id"] == user_id

    for client in (owner, other):
        refused = client.finish(user_id, password="a password of the attacker")
        assert (refused.status_code, refusal(refused)["code"]) == (409, "mail_not_confirmed")
        assert refusal(client.ask_for_code(user_id))["code"] == "mail_already_verified"
        assert refusal(client.confirm(user_id, code))["code"] == "code_expired"
    assert owner.sign_in(ADA, PASSWORD).status_code == 200
    assert roles_of(query) == [USER]


def test_cd9_codes_that_wait_for_the_address_are_withdrawn(
    admin: AdminClient, mailbox: Mailbox, api: ApiClient
) -> None:
    token = token_of(admin, mailbox)
    api.ask_for_code(api.sign_up(ADA))

    assert accept(api, token).status_code == 200

    assert not [message for message in mailbox.letters_to(ADA) if message.code]


def test_ad7_an_invitation_does_not_change_a_user_who_has_registered_in_another_way(
    admin: AdminClient, administration: Administration, mailbox: Mailbox, api: ApiClient, query: Query
) -> None:
    administration.role(EDITOR, "films:edit")
    token = token_of(admin, mailbox, roles=[EDITOR])
    api.register(ADA, mailbox, password=PASSWORD)

    refused = accept(api, token, password="another password of the link")

    assert (refused.status_code, refusal(refused)["code"]) == (409, "email_taken")
    assert roles_of(query) == [USER]
    assert api.sign_in(ADA, PASSWORD).status_code == 200
    assert query("SELECT accepted_at FROM invitations") == [(None,)]


def test_ad7_r4_an_invited_administrator_is_notified_to_every_administrator(
    admin: AdminClient, mailbox: Mailbox, api: ApiClient, query: Query
) -> None:
    token = token_of(admin, mailbox, roles=[ADMIN])

    assert accept(api, token, password=PASSWORD).get_json()["data"]["roles"] == [ADMIN, USER]

    for address in (ADA, "admin@example.org"):
        assert any("administrators" in message.subject for message in mailbox.letters_to(address)), address


def test_ot3_the_first_administrator_is_made_by_accepting_an_invitation(
    make_app: MakeApp, tmp_path: Path, query: Query
) -> None:
    first = make_app(first_administrator=ADA, sign_up="invited")
    mailbox = Mailbox(first, DevInbox(tmp_path / "inbox"))
    service = Administration(first, mailbox).service("users:invite")

    roles = accept(ApiClient(first), token_of(service, mailbox)).get_json()["data"]["roles"]

    assert roles == [ADMIN, USER]
    assert query("SELECT actor_type FROM events WHERE kind = 'role.granted'") == [("system",)]


def test_az8_an_accepted_invitation_is_deleted_with_the_account(
    admin: AdminClient, mailbox: Mailbox, api: ApiClient, query: Query
) -> None:
    accept(api, token_of(admin, mailbox), password=PASSWORD)
    token_of(admin, mailbox, email="grace@example.org")
    access_token = api.signed_in(ADA, PASSWORD)["access_token"]

    assert api.leave(access_token, password=PASSWORD).status_code == 200

    assert query("SELECT email FROM invitations") == [("grace@example.org",)]
    assert query("SELECT count(*) FROM events WHERE kind = 'invitation.accepted' AND user_id IS NOT NULL") == [(0,)]


def test_az8_the_invitations_of_a_deleted_inviter_stay_open(
    admin: AdminClient, administration: Administration, mailbox: Mailbox, api: ApiClient
) -> None:
    inviter = administration.administrator("inviter@example.org")
    token = token_of(inviter, mailbox, roles=[ADMIN])
    assert inviter.call("DELETE", "/users/me", json={"password": PASSWORD}).status_code == 200

    assert accept(api, token).get_json()["data"]["roles"] == [USER]


def test_az3_tokens_are_accepted_in_the_body_only_and_other_fields_are_refused(
    admin: AdminClient, mailbox: Mailbox, api: ApiClient, query: Query
) -> None:
    token = token_of(admin, mailbox)

    for path in ("/invitation", "/invitation/accept"):
        assert api.call("POST", f"{path}?token={token}", json={}).status_code == 422
        for more in ({"roles": [ADMIN]}, {"email": "grace@example.org"}, {"language": "ru"}):
            assert api.call("POST", path, json={"token": token, **more}).status_code == 422
        assert api.call("GET", path).status_code == 405
    assert query("SELECT accepted_at FROM invitations") == [(None,)]


def test_rl1_attempts_at_tokens_are_limited_for_each_network(make_app: MakeApp) -> None:
    limited = make_app(limit_guesses="3/1m")

    statuses = [accept(ApiClient(limited), NO_TOKEN).status_code for _ in range(4)]

    assert statuses == [404, 404, 404, 429]
    assert read(ApiClient(limited), NO_TOKEN).status_code == 429
    assert read(ApiClient(limited, address="198.51.100.9"), NO_TOKEN).status_code == 404


@pytest.mark.parametrize("permission", [Permission.USERS_READ, Permission.ROLES_GRANT])
def test_az1_only_the_permission_to_invite_allows_invitations(
    administration: Administration, permission: Permission
) -> None:
    user = administration.with_permissions(ADA, permission)

    assert user.error("POST", "/invitations", json={"email": "grace@example.org"}) == (403, "permission_missing")
    assert user.error("GET", "/invitations") == (403, "permission_missing")
