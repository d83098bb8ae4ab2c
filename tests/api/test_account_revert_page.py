"""Account revert page: the link of an email opens it, and only its button reverts anything."""

import re

import pytest
from bs4 import BeautifulSoup
from flask import Flask

from tests.support.actors import ApiClient, Mailbox

EMAIL, PASSWORD = "ada@example.org", "correct horse battery"
PAGE = "/account/undo"


def test_an_email_scanner_that_opens_the_link_reverts_nothing(app: Flask, api: ApiClient, mailbox: Mailbox) -> None:
    api.register(EMAIL, mailbox, password=PASSWORD)
    ApiClient(app).signed_in(EMAIL, PASSWORD)  # the first sign-in after a registration sends no notification
    token = api.signed_in(EMAIL, PASSWORD)["access_token"]
    [link] = re.findall(r"http\S+/account/undo#\S+", mailbox.letters_to(EMAIL)[0].text)

    for method in ("GET", "HEAD"):
        assert api.client.open(link, method=method).status_code == 200
    for method in ("POST", "PUT", "DELETE"):
        assert api.client.open(link, method=method).status_code == 405

    assert api.is_signed_in(token)
    assert api.sign_in(EMAIL, PASSWORD).status_code == 200


def test_se8_the_page_has_a_strict_content_security_policy(app: Flask) -> None:
    first, second = (app.test_client().get(PAGE) for _ in range(2))

    assert first.content_type == "text/html; charset=utf-8"
    assert first.headers["Cache-Control"] == "no-store"
    assert first.headers["Referrer-Policy"] == "no-referrer"
    assert "Set-Cookie" not in first.headers
    policy = dict(part.strip().split(" ", 1) for part in first.headers["Content-Security-Policy"].split(";"))
    nonce = policy["script-src"].removeprefix("'nonce-").removesuffix("'")
    assert policy == {
        "default-src": "'none'",
        "script-src": f"'nonce-{nonce}'",
        "style-src": f"'nonce-{nonce}'",
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert nonce not in second.text
    page = BeautifulSoup(first.text, "html.parser")
    assert [tag["nonce"] for tag in page.find_all(["script", "style"])] == [nonce, nonce]
    assert not page.select("[style], [onclick]"), "the policy blocks inline styles and handlers"
    loaded = [tag.get("src") or tag.get("href") for tag in page.find_all(["script", "link", "img", "a", "iframe"])]
    assert [link for link in loaded if link] == ["data:,"], "the page loads no external resource"


@pytest.mark.parametrize(
    ("accept_language", "language", "title"),
    [
        ("ru-RU,ru;q=0.9,en;q=0.8", "ru", "Это был не я"),
        ("en-GB", "en", "This was not me"),
        ("fr", "en", "This was not me"),
    ],
)
def test_the_page_is_in_the_language_of_the_browser(
    app: Flask, accept_language: str, language: str, title: str
) -> None:
    response = app.test_client().get(PAGE, headers={"Accept-Language": accept_language})

    page = BeautifulSoup(response.text, "html.parser")
    assert page.html is not None
    assert page.html["lang"] == language == response.headers["Content-Language"]
    assert [heading.text for heading in page.find_all("h1")] == [title]
    assert "Accept-Language" in response.vary
    assert "{" not in "".join(paragraph.text for paragraph in page.find_all("p")), "every placeholder is replaced"


def test_the_page_has_a_message_with_the_next_step_for_every_outcome(app: Flask) -> None:
    page = BeautifulSoup(app.test_client().get(PAGE).text, "html.parser")

    for outcome in ("busy", "done", "no_token", "undo_unknown", "email_taken", "trouble"):
        message = page.find(id=outcome)
        assert message is not None
        assert message.text.strip(), outcome
        assert message.has_attr("hidden")
    assert "set a new password" in page.find(id="done").text  # type: ignore[union-attr]
    assert "nothing was changed" not in page.find(id="trouble").text, "after a lost response the outcome is unknown"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("language", "steps"),
    [
        ("en", ["Nothing was changed", "sign in there, delete it", "press the button again", "tell those who run"]),
        ("ru", ["Ничего не изменилось", "войдите в неё и удалите", "нажмите кнопку ещё раз", "сообщите об этом тем"]),
    ],
)
def test_the_page_names_the_next_steps_when_another_account_has_the_address(
    app: Flask, language: str, steps: list[str]
) -> None:
    page = BeautifulSoup(app.test_client().get(PAGE, headers={"Accept-Language": language}).text, "html.parser")

    message = page.find(id="email_taken").text  # type: ignore[union-attr]
    assert [step for step in steps if step not in message] == []
