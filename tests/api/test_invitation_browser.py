"""Invitation flow in a browser (Chromium): the page of the link, its button, and a mail scanner without a click."""

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox
from tests.support.administration import AdminClient, Administration
from tests.support.front_end import chromium
from tests.support.live import Live
from tests.support.stores import Query

pytestmark = pytest.mark.slow

WIDTHS = (320, 1280)


def expect(place: Any) -> Any:
    """An assertion about a part of a page, repeated until it holds."""
    return pytest.importorskip("playwright.sync_api").expect(place)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page of an English browser; nothing may reach its console, such as a violation of the policy."""
    messages: list[str] = []
    context = browser.new_context(locale="en-GB")
    opened = context.new_page()
    opened.on("pageerror", lambda error: messages.append(str(error)))
    opened.on("console", lambda message: messages.append(message.text))
    yield opened
    context.close()
    # Chromium logs each answer of the API that is an error.
    assert [text for text in messages if not re.search("status of 4(04|09|22)", text)] == []


@pytest.fixture
def service(app: Flask, mailbox: Mailbox) -> AdminClient:
    administration = Administration(app, mailbox)
    administration.role("ROLE_EDITOR", "films:edit")
    return administration.service("users:invite", "films:edit")


@pytest.fixture
def link(service: AdminClient, mailbox: Mailbox, live: Live) -> str:
    """The link in the email of a new invitation, at the address where the server of this run listens."""
    service.data("POST", "/invitations", json={"email": ADA, "roles": ["ROLE_EDITOR"]}, status=201)
    [address] = re.findall(r"http\S+/account/invitation#\S+", mailbox.letters_to(ADA)[0].text)
    return str(address).replace("http://127.0.0.1:5000", f"http://127.0.0.1:{live.port}")


def users(query: Query) -> list[tuple[str, bool, bool]]:
    rows = query("SELECT email, verified_mail, password_hash IS NOT NULL FROM users")
    return [(email, verified, has_password) for email, verified, has_password in rows]


def test_ad7_an_invited_person_opens_the_link_sets_a_password_and_signs_in(
    page: Any, link: str, api: ApiClient, query: Query
) -> None:
    page.goto(link)
    expect(page.locator("dd.address")).to_have_text(ADA)
    expect(page.locator("#roles")).to_have_text("ROLE_EDITOR")
    page.get_by_label("Password (optional)").fill(PASSWORD)
    page.get_by_role("button", name="Accept the invitation").click()

    expect(page.locator("#done")).to_be_visible()
    expect(page.locator("#next_password")).to_be_visible()
    expect(page.locator("#done .address")).to_have_text(ADA)
    assert "#" not in page.url, "the used token is removed from the history of the browser"
    assert page.context.cookies() == []
    assert users(query) == [(ADA, True, True)]
    assert api.sign_in(ADA, PASSWORD).status_code == 200


def test_ad7_an_invited_person_accepts_without_a_password_by_keyboard(page: Any, link: str, query: Query) -> None:
    page.goto(link)
    page.get_by_label("Password (optional)").press("Enter")

    expect(page.locator("#done")).to_be_visible()
    expect(page.locator("#next_code")).to_be_visible()
    expect(page.locator("#done")).to_be_focused()
    assert users(query) == [(ADA, True, False)]


def test_ad7_a_rejected_password_is_explained_beside_the_field_and_can_be_corrected(
    page: Any, link: str, query: Query
) -> None:
    page.goto(link)
    field = page.get_by_label("Password (optional)")
    for password, reason in (("short", "too_short"), ("password1", "common"), (ADA, "context")):
        field.fill(password)
        page.get_by_role("button", name="Accept the invitation").click()
        expect(page.locator(f"[data-reason={reason}]")).to_be_visible()
        expect(page.locator("[data-reason]:visible")).to_have_count(1)
        expect(field).to_be_focused()
        expect(field).to_have_attribute("aria-invalid", "true")
    assert users(query) == []

    field.fill(PASSWORD)
    field.press("Enter")
    expect(page.locator("#done")).to_be_visible()


def test_ad7_a_headless_browser_that_opens_the_link_without_a_click_consumes_nothing(
    browser: Any, page: Any, link: str, query: Query
) -> None:
    for _ in range(2):
        with browser.new_context() as scanner:
            opened = scanner.new_page()
            opened.goto(link, wait_until="networkidle")
            expect(opened.locator("#offer")).to_be_visible()
    assert users(query) == []
    assert query("SELECT accepted_at FROM invitations") == [(None,)]

    page.goto(link)
    page.get_by_role("button", name="Accept the invitation").click()
    expect(page.locator("#done")).to_be_visible()


def test_ad7_a_used_an_incomplete_and_a_replaced_link_are_explained(
    page: Any, link: str, service: AdminClient, mailbox: Mailbox
) -> None:
    page.goto(link.partition("#")[0])
    expect(page.locator("#no_token")).to_be_visible()
    [invitation] = service.data("GET", "/invitations")
    service.data("POST", f"/invitations/{invitation['id']}/resend")
    page.goto(link)
    expect(page.locator("#invitation_unknown")).to_be_visible()
    expect(page.locator("#offer")).to_be_hidden()

    # Following another link in the same tab changes only the fragment.
    page.evaluate("token => { location.hash = token }", mailbox.invitation_sent_to(ADA))
    expect(page.locator("#offer")).to_be_visible()
    page.get_by_role("button", name="Accept the invitation").click()
    expect(page.locator("#done")).to_be_visible()


def test_ad7_a_user_who_has_registered_meanwhile_is_told_to_sign_in(
    page: Any, link: str, api: ApiClient, mailbox: Mailbox
) -> None:
    api.register(ADA, mailbox, password=PASSWORD)

    page.goto(link)
    page.get_by_role("button", name="Accept the invitation").click()

    expect(page.locator("#email_taken")).to_be_visible()


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("width", WIDTHS)
def test_ad7_the_page_fits_a_narrow_and_a_wide_window(browser: Any, link: str, language: str, width: int) -> None:
    for scheme in ("light", "dark"):
        with browser.new_context(
            viewport={"width": width, "height": 640},
            locale=language,
            color_scheme=scheme,
        ) as context:
            page = context.new_page()
            page.goto(link)
            page.locator("#password").fill("short")
            page.locator("#accept").click()
            expect(page.locator("[data-reason=too_short]")).to_be_visible()

            assert page.locator("html").get_attribute("lang") == language
            assert page.evaluate("document.documentElement.scrollWidth") <= width, "no horizontal scrolling"
            if folder := os.environ.get("PICTURES"):
                page.screenshot(path=f"{folder}/{language}-{scheme}-{width}.png", full_page=True)
