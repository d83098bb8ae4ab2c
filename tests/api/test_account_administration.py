"""Account administration: forced password resets and deletions, with reason, email and audit event."""

from threading import Event, Thread
from typing import Any

import nacl.pwhash
import pytest
from flask import Flask

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.administration import AdminClient, Administration
from tests.support.application import MakeApp
from tests.support.stores import Query

REASON = "The password was published"
BODY = {"json": {"reason": REASON}}
NEW = "another horse battery"


def reset_of(user_id: int | None) -> str:
    return f"/admin/users/{user_id}/force_password_reset"


def account_of(user_id: int | None) -> str:
    return f"/admin/users/{user_id}"


def subjects(mailbox: Mailbox) -> list[str]:
    return [message.subject for message in mailbox.letters_to(ADA)]


def force(admin: AdminClient, user_id: int) -> None:
    assert admin.call("POST", reset_of(user_id), **BODY).get_json() == {"success": True, "result": "Ok"}


def test_ad5_after_a_forced_reset_the_password_and_the_sessions_are_dead_and_the_emailed_code_works(
    api: ApiClient, ada: int, app: Flask, admin: AdminClient, mailbox: Mailbox
) -> None:
    tokens = api.signed_in(ADA, PASSWORD)

    force(admin, ada)

    assert not api.is_signed_in(tokens["access_token"])
    assert refusal(api.refresh(tokens["refresh_token"]))["code"] == "refresh_rejected"
    assert refusal(api.sign_in(ADA, PASSWORD))["code"] == "credentials_rejected"
    assert any("Set a new password" in subject for subject in subjects(mailbox))
    browser = ApiClient(app, address="198.51.100.9")  # it has asked for no code, so it has no flow ticket
    assert browser.recover(ADA, mailbox.code_sent_to(ADA), NEW).status_code == 200
    assert browser.is_signed_in(browser.signed_in(ADA, NEW)["access_token"])


def test_ad5_the_code_of_a_forced_reset_works_in_production_and_codes_from_before_do_not(
    make_app: MakeApp, app: Flask, api: ApiClient, ada: int, admin: AdminClient, mailbox: Mailbox
) -> None:
    production = ApiClient(make_app(app_env="production"))
    assert api.ask_to_recover(ADA).status_code == 200
    before = mailbox.code_sent_to(ADA)

    force(admin, ada)

    code = mailbox.code_sent_to(ADA)
    if code != before:
        assert refusal(production.recover(ADA, before, NEW))["code"] in ("code_wrong", "code_expired")
    assert production.recover(ADA, code, NEW).status_code == 200


def test_ad5_a_password_that_is_being_verified_at_this_moment_opens_no_session(
    app: Flask, api: ApiClient, ada: int, admin: AdminClient, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified, reset = Event(), Event()
    verify = nacl.pwhash.argon2id.kdf

    def slow(*arguments: Any, **options: Any) -> bytes:
        digest = verify(*arguments, **options)
        verified.set()
        assert reset.wait(30)
        return digest

    answers: list[tuple[int, str]] = []

    def sign_in() -> None:
        answer = ApiClient(app).sign_in(ADA, PASSWORD)
        answers.append((answer.status_code, answer.get_json()["error"]["code"]))

    monkeypatch.setattr(nacl.pwhash.argon2id, "kdf", slow)
    thread = Thread(target=sign_in)
    thread.start()
    assert verified.wait(30)
    force(admin, ada)
    reset.set()
    thread.join(30)

    assert answers == [(401, "credentials_rejected")]
    assert query("SELECT count(*) FROM sessions WHERE user_id = %s AND ended_at IS NULL", ada) == [(0,)]


def test_ad5_a_forced_reset_happens_without_a_code_if_an_attacker_has_used_up_the_codes_of_the_address(
    make_app: MakeApp, ada: int, admin: AdminClient, mailbox: Mailbox
) -> None:
    limited = make_app(limit_codes_per_network="1000/1d", limit_codes_reserved=0)
    attacker = ApiClient(limited, address="198.51.100.9")
    while attacker.ask_to_recover(ADA).status_code == 200:
        pass
    mailbox.deliver()
    before = len(mailbox.letters_to(ADA))

    force(admin, ada)

    assert refusal(attacker.sign_in(ADA, PASSWORD))["code"] == "credentials_rejected"
    [notification] = mailbox.letters_to(ADA)[: len(mailbox.letters_to(ADA)) - before]
    assert "Set a new password" in notification.subject
    assert notification.code is None


def test_ad5_a_forced_reset_happens_without_a_code_while_redis_does_not_answer(
    make_app: MakeApp, ada: int, admin: AdminClient, mailbox: Mailbox, query: Query
) -> None:
    without_redis = make_app(redis_url="redis://127.0.0.1:1/0", rate_limits="off")
    client = AdminClient(without_redis, admin.headers)
    mailbox.deliver()
    before = len(mailbox.letters_to(ADA))

    assert client.call("POST", reset_of(ada), **BODY).status_code == 200

    assert query("SELECT password_hash FROM users WHERE id = %s", ada) == [(None,)]
    assert len(mailbox.letters_to(ADA)) == before + 1


def test_lg3_a_forced_reset_is_recorded_with_actor_and_reason_which_the_user_cannot_read(
    api: ApiClient, ada: int, admin: AdminClient, mailbox: Mailbox, query: Query
) -> None:
    force(admin, ada)

    events = query("SELECT user_id, actor_type, actor_id, details FROM events WHERE kind = 'password.reset_forced'")
    assert events == [(ada, "user", str(admin.user_id), {"reason": REASON})]
    assert api.recover(ADA, mailbox.code_sent_to(ADA), NEW).status_code == 200
    token = api.signed_in(ADA, NEW)["access_token"]
    assert REASON not in api.with_token(token, "GET", "/me/export").text
    assert REASON not in api.with_token(token, "GET", "/me/login_history").text
    assert all(REASON not in message.text for message in mailbox.letters_to(ADA))


def test_the_user_can_read_the_reason_of_a_ban_in_the_export(api: ApiClient, ada: int, admin: AdminClient) -> None:
    assert admin.call("PUT", f"{account_of(ada)}/ban", **BODY).status_code == 200
    assert admin.call("DELETE", f"{account_of(ada)}/ban").status_code == 200

    token = api.signed_in(ADA, PASSWORD)["access_token"]

    assert REASON in api.with_token(token, "GET", "/me/export").text


def test_a_temporary_user_has_no_password_to_reset(api: ApiClient, admin: AdminClient, mailbox: Mailbox) -> None:
    temporary = api.sign_up(ADA)

    assert admin.error("POST", reset_of(temporary), **BODY) == (409, "mail_not_confirmed")
    assert mailbox.letters_to(ADA) == []


def test_lv6_a_repeated_forced_reset_with_one_idempotency_key_sends_one_code(
    ada: int, admin: AdminClient, mailbox: Mailbox, query: Query
) -> None:
    for _ in range(2):
        answer = admin.call("POST", reset_of(ada), headers={"Idempotency-Key": "reset-of-ada"}, **BODY)
        assert answer.get_json() == {"success": True, "result": "Ok"}

    assert query("SELECT credential_version FROM users WHERE id = %s", ada) == [(1,)]
    assert len([subject for subject in subjects(mailbox) if "Set a new password" in subject]) == 1


def test_ad2_a_deleted_user_is_gone_as_after_self_deletion_and_gets_an_email(
    api: ApiClient, ada: int, admin: AdminClient, mailbox: Mailbox, query: Query
) -> None:
    token = api.signed_in(ADA, PASSWORD)["access_token"]

    assert admin.call("DELETE", account_of(ada), **BODY).get_json() == {"success": True, "result": "Ok"}

    assert not api.is_signed_in(token)
    assert refusal(api.sign_in(ADA, PASSWORD))["code"] == "credentials_rejected"
    assert api.look_up(ADA).status_code == 404
    assert any("deleted" in subject for subject in subjects(mailbox))
    assert admin.error("DELETE", account_of(ada), **BODY) == (404, "user_unknown")
    assert api.sign_up(ADA) != ada


def test_lg3_a_deletion_is_recorded_with_actor_and_reason_and_without_the_user(
    api: ApiClient, ada: int, admin: AdminClient, query: Query
) -> None:
    api.signed_in(ADA, PASSWORD)

    admin.call("DELETE", account_of(ada), **BODY)

    deleted = "SELECT user_id, actor_type, actor_id, target_id, details FROM events WHERE kind = 'account_deleted'"
    assert query(deleted) == [(None, "user", str(admin.user_id), None, {"reason": REASON})]
    assert query("SELECT count(*) FROM events e WHERE e::text LIKE %s OR e::text LIKE %s", f"%{ada}%", f"%{ADA}%") == [
        (0,)
    ]


def test_a_deletion_by_an_administrator_also_notifies_the_former_addresses(
    api: ApiClient, ada: int, admin: AdminClient, mailbox: Mailbox
) -> None:
    """An attacker may have changed the address before: its owner must learn of the deletion."""
    token = api.signed_in(ADA, PASSWORD)["access_token"]
    new = "new.address@example.org"
    assert api.ask_to_move(token, new, password=PASSWORD).status_code == 200
    assert api.move(token, mailbox.code_sent_to(new)).status_code == 200

    admin.call("DELETE", account_of(ada), **BODY)

    for address in (ADA, new):
        assert "deleted" in mailbox.letters_to(address)[0].subject


@pytest.mark.parametrize(("method", "path"), [("POST", reset_of), ("DELETE", account_of)])
def test_r1_the_own_account_and_users_above_the_caller_are_neither_reset_nor_deleted(
    method: str, path: Any, admin: AdminClient, administration: Administration, query: Query
) -> None:
    permissions = ("users:write", "users:delete", "films:edit")
    support = administration.with_permissions("support@example.org", *permissions)
    above = administration.with_permissions("above@example.org", "films:edit", "roles:grant")
    equal = administration.with_permissions("equal@example.org", "films:edit")
    before = query("SELECT count(*) FROM users")

    assert support.error(method, path(support.user_id), **BODY) == (403, "not_to_yourself")
    assert support.error(method, path(above.user_id), **BODY) == (403, "beyond_your_own")
    assert support.error(method, path(admin.user_id), **BODY) == (403, "beyond_your_own")
    service = administration.service(*permissions)
    assert service.error(method, path(above.user_id), **BODY) == (403, "beyond_your_own")
    assert service.error(method, path(admin.user_id), **BODY) == (403, "beyond_your_own")
    assert admin.error(method, path(4711), **BODY) == (404, "user_unknown")
    assert query("SELECT count(*) FROM users") == before
    assert query("SELECT count(*) FROM users WHERE password_hash IS NULL") == [(0,)]
    assert support.call(method, path(equal.user_id), **BODY).status_code == 200


@pytest.mark.parametrize(("method", "path"), [("POST", reset_of), ("DELETE", account_of)])
def test_a_reason_is_required(method: str, path: Any, ada: int, admin: AdminClient) -> None:
    for body in ({}, {"reason": "no"}, {"reason": "two\nlines"}, {"reason": REASON, "email": ADA}):
        assert admin.error(method, path(ada), json=body) == (422, "validation_failed")


def test_az6_an_administrator_can_set_neither_a_password_nor_an_address(
    ada: int, admin: AdminClient, mailbox: Mailbox, query: Query
) -> None:
    before = query("SELECT * FROM users WHERE id = %s", ada)

    for field in ("password", "new_password", "email", "code", "user_id"):
        body = {"reason": REASON, field: NEW}
        answer = admin.call("POST", reset_of(ada), json=body)
        assert [(error["field"], error["reason"]) for error in refusal(answer)["fields"]] == [(field, "unexpected")]
    for method in ("PUT", "PATCH", "POST"):
        assert admin.error(method, account_of(ada), json={"email": NEW}) == (405, "method_not_allowed")

    assert query("SELECT * FROM users WHERE id = %s", ada) == before


def test_r2_the_last_administrator_is_not_deleted_by_a_service_or_by_one_who_is_being_banned(
    admin: AdminClient, administration: Administration
) -> None:
    other = administration.administrator("other@example.org")

    assert admin.call("PUT", f"{account_of(other.user_id)}/ban", **BODY).status_code == 200

    assert other.error("DELETE", account_of(admin.user_id), **BODY) == (401, "token_invalid")
    assert admin.error("DELETE", "/users/me", json={"password": PASSWORD}) == (409, "last_administrator")
    assert admin.call("DELETE", account_of(other.user_id), **BODY).status_code == 200, "a banned one does not count"
