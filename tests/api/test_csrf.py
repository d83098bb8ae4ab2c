"""CSRF check of every unsafe endpoint and every cookie, generated from the contracts (`Origin`, `Sec-Fetch-Site`)."""

import re
import secrets
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_service.api.contract.contract import Contract
from auth_service.api.security import client_info, flow_cookies, session_cookies
from auth_service.api.security.csrf import SAFE_METHODS
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.application import MakeApp
from tests.support.contracts import contracts
from tests.support.stores import Query

pytestmark = pytest.mark.slow

OWN, ALLOWED = "https://portal.example.org", "https://www.example.org"
FOREIGN: list[dict[str, str]] = [
    *(
        {"Origin": origin}
        for origin in (
            "https://shop.example.org",
            "https://example.org",
            "https://portal.example.org:8443",
            "http://portal.example.org",
            "https://portal.example.org.evil.example",
            "https://evil.example",
            "https://PORTAL.example.org",
            "https://portal.example.org/",
            f"{OWN}, https://evil.example",
            "http://localhost:5173",
            "http://127.0.0.1:5000",
            "null",
            "",
        )
    ),
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Origin": "https://shop.example.org", "Sec-Fetch-Site": "same-origin"},
]
"""Headers of requests that a page of another origin sends."""

COOKIES = {
    cookie.purpose: cookie
    for cookie in (
        session_cookies.ACCESS,
        session_cookies.REFRESH,
        client_info.DEVICE,
        flow_cookies.REGISTRATION.cookie,
        flow_cookies.SIGN_IN.cookie,
        flow_cookies.PASSWORD_RESET.cookie,
    )
}


@pytest.fixture
def portal(make_app: MakeApp) -> Flask:
    """An application of profile `production` whose API the pages of `ALLOWED` may call."""
    return make_app(app_env="production", public_url=OWN, cors_origins=ALLOWED)


@pytest.fixture
def values(portal: Flask, mailbox_of_production: Mailbox) -> dict[str, str]:
    """A value of each cookie. Those of Ada's session are valid."""
    api = ApiClient(portal)
    api.register(ADA, mailbox_of_production, password=PASSWORD)
    body = {"email": ADA, "password": PASSWORD, "transport": "cookie"}
    signed_in = api.call("POST", "/sign_in", json=body, headers={"Origin": OWN, "X-Requested-With": "portal"})
    assert signed_in.status_code == 200, signed_in.text
    found = {
        name: cookie.value
        for name in COOKIES
        if (cookie := api.client.get_cookie(f"__Host-{name}", domain="localhost")) is not None
    }
    return {name: found.get(name) or secrets.token_urlsafe(32) for name in COOKIES}


def unsafe_endpoints(app: Flask) -> list[tuple[str, str, Contract]]:
    """Method, path with example ids, and contract of every endpoint whose method is unsafe."""
    endpoints = []
    for method, rule, contract in contracts(app):
        if method not in SAFE_METHODS:
            assert contract is not None, f"{method} {rule} has no contract, so nothing checks its cookies"
            path = re.sub(r"<uuid:\w+>", "00000000-0000-4000-8000-000000000000", rule)
            path = re.sub(r"<role_name:\w+>", "ROLE_UNKNOWN", path)
            endpoints.append((method, re.sub(r"<\w+:\w+>", "1", path), contract))
    assert len(endpoints) > 20
    return endpoints


def send(app: Flask, method: str, path: str, *, cookie: str, headers: dict[str, str]) -> TestResponse:
    """A request with one cookie and no body, as a page can send it without a CORS preflight."""
    return app.test_client(use_cookies=False).open(
        path, method=method, headers={**headers, "Cookie": cookie}, base_url="https://localhost"
    )


def authorizes(contract: Contract, name: str) -> bool:
    """Whether this cookie can authorize a request; otherwise the request is unauthenticated."""
    if contract.access.requires_service_key:
        return False
    return not contract.access.needs_token or contract.access.name == "session_holder" or name == "access"


@pytest.mark.parametrize("name", COOKIES)
def test_se5_no_page_of_another_origin_sends_an_unsafe_request_with_a_cookie(
    portal: Flask, values: dict[str, str], query: Query, name: str
) -> None:
    cookie = f"__Host-{name}={values[name]}"
    before = query("SELECT id, counter, ended_at FROM sessions"), query("SELECT count(*) FROM letters")

    for method, path, contract in unsafe_endpoints(portal):
        for headers in FOREIGN:
            answer = send(portal, method, path, cookie=cookie, headers={**headers, "X-Requested-With": "portal"})
            case = (method, path, headers, answer.text)
            if authorizes(contract, name):
                assert (answer.status_code, refusal(answer)["code"]) == (403, "cross_site"), case
                assert refusal(answer)["reason"] == "origin", case
            else:
                assert answer.status_code == 401, case
            assert "Set-Cookie" not in answer.headers, case

    assert before == (query("SELECT id, counter, ended_at FROM sessions"), query("SELECT count(*) FROM letters"))


@pytest.mark.parametrize("name", COOKIES)
def test_the_pages_of_our_own_and_of_allowed_origins_pass_the_check_of_the_origin(
    portal: Flask, values: dict[str, str], name: str
) -> None:
    cookie = f"__Host-{name}={values[name]}"
    for method, path, contract in unsafe_endpoints(portal):
        for headers in ({"Origin": OWN}, {"Origin": ALLOWED}, {"Sec-Fetch-Site": "same-origin"}):
            # Without X-Requested-With, so that no request takes effect that a session cookie authenticates.
            error = refusal_or_none(send(portal, method, path, cookie=cookie, headers=headers))
            if error is not None and error["code"] == "cross_site":
                assert (error["reason"], contract.needs_csrf_header) == ("header", True), (method, path, headers)


@pytest.mark.parametrize("name", [name for name in COOKIES if name not in ("access", "refresh")])
def test_programs_that_send_no_origin_pass_the_check(portal: Flask, values: dict[str, str], name: str) -> None:
    for method, path, contract in unsafe_endpoints(portal):
        if contract.access.is_open:
            answer = send(portal, method, path, cookie=f"__Host-{name}={values[name]}", headers={})
            assert answer.status_code != 403, (method, path, answer.text)


def refusal_or_none(answer: TestResponse) -> dict[str, Any] | None:
    """The error of an answer, if it is one."""
    return None if answer.status_code < 300 else refusal(answer)


def test_a_request_without_cookies_or_with_authorization_is_no_csrf(portal: Flask, values: dict[str, str]) -> None:
    client = ApiClient(portal, cookies=False)
    foreign = {"Origin": "https://shop.example.org"}
    assert client.call("POST", "/sign_up", json={"email": "new@example.org"}, headers=foreign).status_code == 201
    bearer = {**foreign, "Authorization": f"Bearer {values['access']}", "Cookie": f"__Host-device={values['device']}"}
    assert client.call("DELETE", "/me/sessions", headers=bearer).status_code == 200


def test_se5_a_page_on_a_sibling_host_cannot_replace_the_code_of_a_registration(
    portal: Flask, mailbox_of_production: Mailbox
) -> None:
    api = ApiClient(portal)
    user_id = api.sign_up("new@example.org")
    assert api.ask_for_code(user_id).status_code == 200
    code = mailbox_of_production.code_sent_to("new@example.org")

    sibling = {"Origin": "https://shop.example.org", "Sec-Fetch-Site": "same-site"}
    forged = [
        api.call("POST", f"/{user_id}/resend_code", headers=sibling),
        api.call("POST", f"/{user_id}/send_code", headers=sibling),
        *(api.call("PUT", f"/{user_id}/mail?code=000000", headers=sibling) for _ in range(6)),
        api.call("PATCH", f"/{user_id}/sign_up", headers=sibling),
    ]

    assert {(answer.status_code, refusal(answer)["code"]) for answer in forged} == {(403, "cross_site")}
    assert len(mailbox_of_production.letters_to("new@example.org")) == 1
    assert api.confirm(user_id, code).status_code == 200
