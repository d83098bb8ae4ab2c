"""Swagger pages in Chromium: Swagger UI 5 under a strict CSP, Authorize, sign-in by cookies, filter, dark scheme."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from auth_service.api.pages.swagger import ASSETS, SERVED
from tests.support.actors import PASSWORD, ApiClient, Mailbox
from tests.support.front_end import chromium
from tests.support.live import Live

EXAMPLE = "sgsf@sgfg.ru"
"""The address in the examples of the documents. Their password is that of the actors."""
PATHS = ".opblock-summary-path"
SIGN_OUTS = ["/v1/users/sign_out", "/v1/users/sign_out/everywhere"]
PAGES = {"swagger": "OAS 2.0", "openapi": "OAS 3.1"}


@pytest.mark.parametrize("name", PAGES)
def test_c14_the_pages_allow_only_their_own_files_and_load_nothing_from_outside(app: Flask, name: str) -> None:
    answer = app.test_client().get(f"/api/{name}")

    policy = dict(each.strip().partition(" ")[::2] for each in answer.headers["Content-Security-Policy"].split(";"))
    assert (policy["default-src"], policy["style-src"], policy["connect-src"]) == ("'none'", "'self'", "'self'")
    assert "unsafe" not in str(policy)
    assert "http" not in answer.text.replace('http-equiv="', "")


def test_c14_swagger_ui_5_is_served_from_an_installed_package(app: Flask) -> None:
    client = app.test_client()

    for name in SERVED:
        with client.get(f"/swaggerui/{name}") as response:  # closes the file
            assert response.data == (ASSETS / name).read_bytes()
    assert (ASSETS / "VERSION").read_text("utf-8").startswith("v5.")
    for name in ("index.css", "oauth2-redirect.html", "LICENSE", "../flask_swagger_ui.py"):
        assert client.get(f"/swaggerui/{name}").status_code == 404


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


class Page:
    """One page with its problems: errors in the console, and requests to other hosts."""

    def __init__(self, browser: Any, live: Live, name: str, **options: Any) -> None:
        self.base = f"http://127.0.0.1:{live.port}"
        self.problems: list[str] = []
        self._context = browser.new_context(**options)
        self.page = self._context.new_page()
        self.page.set_default_timeout(60_000)  # Chromium shares two cores with other tests
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._note)
        self.page.on("request", lambda request: self._note_request(request.url))
        self.page.goto(f"{self.base}/api/{name}")
        self.page.wait_for_selector(".opblock")

    def _note(self, message: Any) -> None:
        # Chromium reports every answer with an error status; some tests send such requests.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.problems.append(message.text)

    def _note_request(self, url: str) -> None:
        if not url.startswith((f"{self.base}/", "data:", "blob:")):
            self.problems.append(url)

    def execute(self, method: str, path: str, *, user_id: int | None = None) -> Any:
        """Open an operation, send its example as it stands, with this id in the path; return the response."""
        block = self.page.locator(f".opblock-{method}").filter(
            has=self.page.locator(f'.opblock-summary-path[data-path="{path}"]')
        )
        block.locator(".opblock-summary-control").click()
        if user_id is not None:
            block.locator('[data-param-name="user_id"] input').fill(str(user_id))
        url = f"{self.base}/api{path}".replace("{user_id}", str(user_id))
        with self.page.expect_response(url) as answered:
            block.locator(".execute").click()
        block.locator(".opblock-summary-control").click()  # an open operation makes the page slow
        return answered.value

    def brightness(self, selector: str, of: str) -> int:
        """The brightness of a color of the first such element, from 0 to 765. Transparent shows the white page."""
        color = self.page.eval_on_selector(selector, f"each => getComputedStyle(each).{of}")
        red, green, blue = (int(each) for each in color.strip("rgba()").split(",")[:3])
        return 765 if color.replace(" ", "").endswith(",0)") else red + green + blue


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PAGES)
def test_c14_the_page_shows_the_document_in_the_scheme_of_the_browser_and_filters_it(
    browser: Any, live: Live, name: str
) -> None:
    shown = Page(browser, live, name, color_scheme="dark")
    assert PAGES[name] in shown.page.text_content(".info")

    shown.page.locator(".opblock-summary-control").first.click()
    shown.page.wait_for_selector(".headers td")
    assert shown.brightness(".swagger-ui", "backgroundColor") < 200
    assert shown.brightness(".headers td", "color") > 600
    shown.page.emulate_media(color_scheme="light")
    shown.page.wait_for_selector("html:not(.dark-mode)")  # a listener of the page follows the browser
    assert shown.brightness(".swagger-ui", "backgroundColor") > 600
    assert shown.brightness(".headers td", "color") < 300

    shown.page.fill(".operation-filter-input", "sign_out")
    shown.page.locator(".opblock").nth(2).wait_for(state="detached")
    assert [text.replace("\u200b", "") for text in shown.page.locator(PATHS).all_text_contents()] == SIGN_OUTS
    assert shown.problems == []


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PAGES)
def test_c14_authorize_begins_with_the_bearer_token_and_keeps_it_over_a_reload(
    browser: Any, live: Live, name: str
) -> None:
    shown = Page(browser, live, name)

    shown.page.click(".btn.authorize")
    dialog = shown.page.locator(".modal-ux-content")
    assert (dialog.locator("h4").first.text_content() or "").startswith("bearer")
    assert dialog.evaluate("dialog => dialog.scrollTop") == 0
    assert dialog.locator("input").first.evaluate("input => input === document.activeElement")
    dialog.locator("input").first.fill("a-token")
    dialog.locator(".btn.authorize").first.click()
    shown.page.reload()
    shown.page.wait_for_selector(".opblock")
    with shown.page.expect_request(lambda request: request.url.endswith("/v1/users/me")) as sent:
        assert shown.execute("get", "/v1/users/me").status == 401
    assert sent.value.headers["authorization"] == "Bearer a-token"
    assert shown.problems == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_c14_the_examples_register_a_user_and_sign_in_by_cookies_as_they_stand(
    browser: Any, local_service: Live
) -> None:
    shown = Page(browser, local_service, "swagger")

    user_id = shown.execute("post", "/v1/users/sign_up").json()["data"]["id"]
    for method, path in (("post", "send_code"), ("put", "mail"), ("patch", "sign_up")):
        assert shown.execute(method, f"/v1/users/{{user_id}}/{path}", user_id=user_id).status == 200
    assert shown.execute("post", "/v1/users/sign_in").json()["data"].keys() == {"token_type", "expires_in"}
    assert shown.execute("get", "/v1/users/me").json()["data"]["id"] == user_id
    assert shown.execute("post", "/v1/users/refresh_token").status == 200
    assert shown.execute("post", "/v1/users/sign_out").status == 200
    assert shown.problems == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_c14_the_page_of_openapi_3_1_signs_in_by_cookies(
    browser: Any, local_service: Live, api: ApiClient, mailbox: Mailbox
) -> None:
    user_id = api.register(EXAMPLE, mailbox, password=PASSWORD)
    shown = Page(browser, local_service, "openapi")

    assert shown.execute("post", "/v1/users/sign_in").json()["data"].keys() == {"token_type", "expires_in"}
    assert shown.execute("get", "/v1/users/me").json()["data"]["id"] == user_id
    assert shown.execute("post", "/v1/users/sign_out").status == 200
    assert shown.problems == []
