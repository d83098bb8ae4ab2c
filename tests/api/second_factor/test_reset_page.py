"""Page of the cancel link of a delayed reset: the emails open it, and only its button cancels anything."""

import re

import pytest
from bs4 import BeautifulSoup
from flask import Flask

from tests.support.delayed_reset import Owner, cancel_token
from tests.support.front_end import chromium
from tests.support.live import Live

PAGE = "/account/second_factor_reset"


def test_sf11_an_email_scanner_that_opens_the_link_cancels_nothing(owner: Owner) -> None:
    owner.request()
    [link] = re.findall(rf"http\S+{PAGE}#\S+", owner.emails("will be reset")[0].text)

    statuses = [owner.user.api.client.open(link, method=method).status_code for method in ("GET", "HEAD", "POST")]

    assert statuses == [200, 200, 405]
    assert owner.is_pending()


@pytest.mark.parametrize(
    ("language", "title", "advice"),
    [
        ("ru", "Оставить второй шаг входа", "задайте новый пароль"),
        ("en", "Keep two-step sign-in", "set a new password"),
    ],
)
def test_sf11_the_page_is_in_the_language_of_the_browser(app: Flask, language: str, title: str, advice: str) -> None:
    response = app.test_client().get(PAGE, headers={"Accept-Language": language})

    page = BeautifulSoup(response.text, "html.parser")
    assert [heading.text for heading in page.find_all("h1")] == [title]
    assert response.headers["Content-Language"] == language
    assert "script-src 'nonce-" in response.headers["Content-Security-Policy"]
    assert "{" not in "".join(paragraph.text for paragraph in page.find_all("p")), "every placeholder is replaced"
    messages = {outcome: page.find(id=outcome) for outcome in ("busy", "done", "no_token", "undo_unknown", "trouble")}
    assert all(message and message.has_attr("hidden") and message.text.strip() for message in messages.values())
    assert advice in messages["done"].text  # type: ignore[union-attr]


@pytest.mark.slow
def test_sf11_the_button_of_the_page_cancels_the_reset_in_a_browser(owner: Owner, live: Live) -> None:
    owner.request()
    token = cancel_token(owner.emails("will be reset")[0])
    with chromium() as browser:
        page = browser.new_page(locale="en-GB")
        for shown in ("#done", "#undo_unknown"):
            page.goto("about:blank")
            page.goto(f"http://127.0.0.1:{live.port}{PAGE}#{token}")
            page.get_by_role("button", name="Cancel the reset").click()
            page.wait_for_selector(shown, state="visible")
        page.goto("about:blank")
        page.goto(f"http://127.0.0.1:{live.port}{PAGE}")
        page.wait_for_selector("#no_token", state="visible")
    assert not owner.is_pending()
