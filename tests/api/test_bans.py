"""Bans: effective with the next request on every path, revealed only to correct credentials, lifted without session."""

from typing import Any

import pytest
from flask import Flask

from auth_service.cli.maintenance import maintenance
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.administration import AdminClient, Administration
from tests.support.bans import FOREVER, REASON, UNTIL, ban, unban
from tests.support.stores import Query

EXPIRE = "UPDATE users SET banned_until = now() - interval '1 second' WHERE id = %s"
BAN_EVENTS = "SELECT kind, actor_type, actor_id, details FROM events WHERE kind LIKE 'user.%%' ORDER BY id"


class Paths:
    """Every path on which the tokens of a sign-in authenticate."""

    def __init__(self, app: Flask, service: AdminClient) -> None:
        self._app, self._service = app, service

    def accept(self, tokens: dict[str, Any]) -> dict[str, bool]:
        """Whether each path accepts the tokens; the last one uses the refresh token."""
        access, refresh = tokens["access_token"], tokens["refresh_token"]
        bearer = {"Authorization": f"Bearer {access}"}
        client = self._app.test_client(use_cookies=False)
        return {
            "next request": ApiClient(self._app).is_signed_in(access),
            "gateway": client.get("/api/v1/sessions/verify", headers=bearer).status_code == 200,
            "introspection": self._introspect(token=access),
            "introspection of the refresh token": self._introspect(token=refresh, token_type_hint="refresh_token"),
            "reauthentication": self._reauthenticates(bearer),
            "refresh": client.post("/api/v1/users/refresh_token", json={"refresh_token": refresh}).status_code == 200,
        }

    def _introspect(self, **body: str) -> bool:
        return bool(self._service.call("POST", "/tokens/introspect", json=body).get_json()["data"]["active"])

    def _reauthenticates(self, bearer: dict[str, str]) -> bool:
        client = self._app.test_client(use_cookies=False)
        answer = client.post("/api/v1/users/me/reauthenticate/send_code", headers=bearer)
        return answer.status_code == 200


@pytest.fixture
def paths(app: Flask, administration: Administration) -> Paths:
    return Paths(app, administration.service("tokens:introspect", name="gateway"))


def test_ad2_a_ban_is_effective_on_every_path_and_unban_restores_sign_in_without_sessions(
    api: ApiClient, ada: int, admin: AdminClient, paths: Paths
) -> None:
    tokens = api.signed_in(ADA, PASSWORD)
    assert set(paths.accept(api.signed_in(ADA, PASSWORD)).values()) == {True}

    ban(admin, ada)
    assert set(paths.accept(tokens).values()) == {False}
    assert refusal(api.sign_in(ADA, PASSWORD))["code"] == "account_banned"

    unban(admin, ada)
    assert set(paths.accept(tokens).values()) == {False}, "revoked sessions stay revoked"
    assert set(paths.accept(api.signed_in(ADA, PASSWORD)).values()) == {True}


def test_ad2_a_session_that_a_ban_has_not_revoked_is_refused_until_the_ban_ends(
    api: ApiClient, ada: int, admin: AdminClient, paths: Paths, query: Query
) -> None:
    """The release before bans opens sessions during a rolling update: every statement compares the ban itself."""
    tokens = api.signed_in(ADA, PASSWORD)
    ban(admin, ada)
    query("UPDATE sessions SET ended_at = NULL, end_reason = NULL WHERE user_id = %s", ada)

    assert set(paths.accept(tokens).values()) == {False}
    sign_out = api.call("POST", "/sign_out", json={"refresh_token": tokens["refresh_token"]})
    assert refusal(sign_out)["code"] == "refresh_rejected"

    query(EXPIRE, ada)
    assert set(paths.accept(tokens).values()) == {True}


@pytest.mark.parametrize(("body", "until"), [(FOREVER, None), (UNTIL, "2099-01-31T09:00:00Z")])
def test_ad2_correct_credentials_of_a_banned_account_are_told_the_ban(
    api: ApiClient, mailbox: Mailbox, ada: int, admin: AdminClient, query: Query, body: dict[str, Any], until: str
) -> None:
    api.ask_to_sign_in(ADA)
    ban(admin, ada, body)

    by_password = api.sign_in(ADA, PASSWORD)
    by_code = api.sign_in_by_code(ADA, mailbox.code_sent_to(ADA))

    for answer in (by_password, by_code):
        assert answer.status_code == 403
        error = refusal(answer)
        assert (error["code"], error["until"], error["reason"]) == ("account_banned", until, REASON)
        assert "Set-Cookie" not in answer.headers, "no session, and no known device"
    assert query("SELECT details FROM events WHERE kind = 'sign_in_refused' ORDER BY id") == [
        ({"method": method, "refusal": "account_banned"},) for method in ("password", "code")
    ]


def test_ad4_wrong_credentials_of_a_banned_account_are_answered_as_those_of_an_unknown_one(
    api: ApiClient, ada: int, admin: AdminClient
) -> None:
    ban(admin, ada)

    def answers(email: str) -> list[tuple[int, Any]]:
        requests = [
            api.sign_in(email, "a wrong password"),
            api.ask_to_sign_in(email),
            api.sign_in_by_code(email, "0000"),
            api.ask_to_recover(email),
            api.recover(email, "0000", "another long one"),
        ]
        return [(answer.status_code, answer.get_json()) for answer in requests]

    assert answers(ADA) == answers("unknown@example.org")


def test_ad2_a_password_reset_of_a_banned_account_succeeds_and_opens_no_session(
    api: ApiClient, mailbox: Mailbox, ada: int, admin: AdminClient, query: Query
) -> None:
    ban(admin, ada)

    assert api.ask_to_recover(ADA).status_code == 200
    assert api.recover(ADA, mailbox.code_sent_to(ADA), "another horse battery").status_code == 200

    assert refusal(api.sign_in(ADA, PASSWORD))["code"] == "credentials_rejected"
    assert refusal(api.sign_in(ADA, "another horse battery"))["code"] == "account_banned"
    assert query("SELECT count(*) FROM sessions WHERE user_id = %s", ada) == [(0,)]


def test_ad2_a_banned_sign_in_on_a_new_device_sends_no_notification_about_it(
    api: ApiClient, mailbox: Mailbox, ada: int, admin: AdminClient, query: Query
) -> None:
    query("UPDATE users SET verified_at = now() - interval '2 days'")
    ban(admin, ada)
    mailbox.deliver()
    before = len(mailbox.letters_to(ADA))

    assert refusal(api.sign_in(ADA, PASSWORD))["code"] == "account_banned"

    assert len(mailbox.letters_to(ADA)) == before


def test_ad2_a_ban_with_until_ends_by_the_clock_of_the_database(
    api: ApiClient, ada: int, admin: AdminClient, query: Query
) -> None:
    ban(admin, ada, UNTIL)
    query(EXPIRE, ada)

    assert api.is_signed_in(api.signed_in(ADA, PASSWORD)["access_token"])

    ban(admin, ada, FOREVER)
    assert refusal(api.sign_in(ADA, PASSWORD))["code"] == "account_banned"
    assert query(
        "SELECT banned_until::text, now() - banned_at < interval '1 minute' FROM users WHERE id = %s", ada
    ) == [("infinity", True)]
    assert [kind for kind, *_ in query(BAN_EVENTS)] == ["user.banned", "user.banned"]


def test_the_address_of_a_banned_account_stays_taken(api: ApiClient, ada: int, admin: AdminClient) -> None:
    ban(admin, ada)

    assert refusal(api.try_to_sign_up(ADA))["code"] == "email_taken"


def test_lg3_lg4_a_ban_is_recorded_and_emailed_once_and_changes_are_recorded(
    ada: int, admin: AdminClient, mailbox: Mailbox, query: Query
) -> None:
    ban(admin, ada)
    ban(admin, ada, {"reason": f"  {REASON} \u200b"})
    assert len(query(BAN_EVENTS)) == 1, "equal values change nothing"
    [began] = query("SELECT banned_at FROM users WHERE id = %s", ada)

    ban(admin, ada, UNTIL)
    ban(admin, ada, UNTIL)
    ban(admin, ada, {**UNTIL, "reason": "More spam"})
    unban(admin, ada)
    unban(admin, ada)

    end, actor = "2099-01-31T09:00:00Z", ("user", str(admin.user_id))
    assert query(BAN_EVENTS) == [
        ("user.banned", *actor, {"reason": REASON, "changes": {"banned": [False, True]}}),
        ("user.banned", *actor, {"reason": REASON, "changes": {"until": [None, end]}}),
        ("user.banned", *actor, {"reason": "More spam"}),
        ("user.unbanned", *actor, {"changes": {"banned": [True, False], "until": [end, None]}}),
    ]
    emails = [message.text for message in mailbox.letters_to(ADA) if "banned" in message.subject]
    contents = {
        (reason, end): 0 for reason in (REASON, "More spam") for end in ("until 2099-01-31 09:00 UTC.", "banned.")
    }
    for text in emails:
        [content] = [each for each in contents if f"Reason: {each[0]}\n" in text and each[1] in text]
        contents[content] += 1
    assert list(contents.values()) == [1, 1, 1, 0]
    assert query("SELECT banned_until, banned_at, ban_reason FROM users WHERE id = %s", ada) == [(None, None, None)]
    assert began != (None,)


def test_lg3_the_sessions_of_a_banned_user_are_revoked_by_the_administrator(
    api: ApiClient, ada: int, admin: AdminClient, query: Query
) -> None:
    api.signed_in(ADA, PASSWORD)
    api.signed_in(ADA, PASSWORD)

    ban(admin, ada)

    ended = query("SELECT actor_id, details FROM events WHERE kind = 'session_ended' AND user_id = %s", ada)
    assert ended == [(str(admin.user_id), {"reason": "banned"})] * 2
    assert query("SELECT DISTINCT end_reason FROM sessions WHERE user_id = %s", ada) == [("banned",)]


@pytest.mark.parametrize("body", [FOREVER, UNTIL])
def test_r2_a_banned_administrator_does_not_count(
    admin: AdminClient, administration: Administration, app: Flask, body: dict[str, Any]
) -> None:
    other = administration.administrator("other@example.org")
    with app.app_context():
        counted = app.extensions["auth_service"].administrators.count
        assert counted() == 2
        ban(admin, other.user_id, body)
        assert counted() == 1, "as in the metric auth_administrators"

    role = f"/users/{admin.user_id}/roles/ROLE_PORTAL_ADMIN"
    assert admin.error("DELETE", role) == (409, "last_administrator")
    assert admin.error("DELETE", "/users/me", json={"password": PASSWORD}) == (409, "last_administrator")


def test_a_banned_temporary_user_gets_no_email_and_is_kept(
    api: ApiClient, admin: AdminClient, mailbox: Mailbox, app: Flask, query: Query
) -> None:
    """The owner of the address may not have registered it; without the user, the ban would be forgotten."""
    banned, other = api.sign_up(ADA), api.sign_up("grace@example.org")
    ban(admin, banned)
    query("UPDATE users SET created_at = now() - interval '30 days' WHERE NOT verified_mail")

    assert app.test_cli_runner().invoke(maintenance).exit_code == 0

    assert mailbox.letters_to(ADA) == []
    assert query("SELECT id FROM users WHERE id IN (%s, %s)", banned, other) == [(banned,)]
    assert refusal(api.try_to_sign_up(ADA))["code"] == "email_taken"
