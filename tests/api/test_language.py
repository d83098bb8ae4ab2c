"""Language of emails: a signed-in user chooses it, and all later emails are in that language."""

from typing import Any

import pytest
from flask import Flask

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.stores import Query


def choose(api: ApiClient, token: str, language: Any) -> Any:
    """Choose the language of emails."""
    return api.with_token(token, "PATCH", "/me", json={"language": language})


def events(query: Query, user_id: int) -> list[tuple[Any, ...]]:
    return query("SELECT details FROM events WHERE user_id = %s AND kind = 'language_changed' ORDER BY id", user_id)


def test_emails_are_in_the_language_that_the_user_chose(api: ApiClient, ada: int, token: str, mailbox: Mailbox) -> None:
    current = PASSWORD
    for language, accepted in (("ru", "en"), ("en", "ru")):
        answer = choose(api, token, language)
        assert (answer.status_code, answer.get_json()) == (
            200,
            {"success": True, "result": "Ok", "data": {"language": language}},
        )
        assert api.with_token(token, "GET", "/me/export").get_json()["data"]["profile"]["language"] == language
        # A code of an unauthenticated flow and a security notification: the user decides, not the client.
        assert ApiClient(api.client.application, language=accepted).ask_to_sign_in(ADA).status_code == 200
        mailbox.deliver()  # a change of the password withdraws codes that wait
        new = f"{PASSWORD} {language}"
        assert api.change_password(token, current, new).status_code == 200
        current = new
        assert [email.language for email in mailbox.letters_to(ADA)[:2]] == [language, language]


def test_a_changed_language_is_an_audit_event_and_an_unchanged_one_is_not(
    api: ApiClient, ada: int, token: str, query: Query
) -> None:
    for language in ("ru", "ru", "en", "en"):
        assert choose(api, token, language).status_code == 200

    assert events(query, ada) == [({"language": "ru"},), ({"language": "en"},)]
    latest = api.with_token(token, "GET", "/me/login_history").get_json()["data"][0]
    assert (latest["kind"], latest["outcome"], latest["current"]) == ("language_changed", "success", True)


@pytest.mark.parametrize("language", ["de", "RU", "ru-RU", "", None, 1, ["ru"]])
def test_an_unknown_language_is_rejected(api: ApiClient, ada: int, token: str, query: Query, language: Any) -> None:
    answer = choose(api, token, language)

    assert (answer.status_code, refusal(answer)["fields"][0]["field"]) == (422, "language")
    assert events(query, ada) == []


def test_only_a_signed_in_user_and_only_the_own_language(api: ApiClient, app: Flask, token: str) -> None:
    assert ApiClient(app).call("PATCH", "/me", json={"language": "ru"}).status_code == 401
    assert api.with_token(token, "PATCH", "/me", json={"language": "ru", "email": "x@example.org"}).status_code == 422
    assert api.with_token(token, "PATCH", "/me", json={}).status_code == 422


def test_se5_by_cookie_the_language_needs_the_csrf_check(app: Flask, ada: int) -> None:
    browser = ApiClient(app)
    same_site = {"Origin": "http://127.0.0.1:5000", "X-Requested-With": "fetch"}
    body = {"email": ADA, "password": PASSWORD, "transport": "cookie"}
    assert browser.call("POST", "/sign_in", json=body, headers=same_site).status_code == 200

    cross_site = browser.call("PATCH", "/me", json={"language": "ru"}, headers={"Origin": "https://evil.example"})

    assert (cross_site.status_code, refusal(cross_site)["code"]) == (403, "cross_site")
    assert browser.call("PATCH", "/me", json={"language": "ru"}, headers=same_site).status_code == 200
