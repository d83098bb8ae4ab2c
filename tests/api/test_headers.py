"""HTTP response headers: security headers, CORS, request ids and flow ticket cookies; and the language of emails."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_service.app import create_app
from auth_service.settings import Settings
from tests.support.actors import USERS, ApiClient, Mailbox
from tests.support.application import MakeApp, forget

ADA = "ada@example.org"
PORTAL = "https://portal.example.org"


def anonymous_client(app: Flask) -> Any:
    """A client without cookies."""
    return app.test_client(use_cookies=False)


REQUESTS = [
    ("GET", "/health/live", {}, 200),
    ("GET", "/api/swagger.json", {}, 200),
    ("POST", f"{USERS}/sign_up", {"json": {"email": ADA}}, 201),
    ("HEAD", f"{USERS}?email={ADA}", {}, 404),
    ("POST", f"{USERS}/sign_up", {"data": "[", "content_type": "application/json"}, 400),
    ("GET", "/nowhere", {}, 404),
    ("GET", f"{USERS}?email={ADA}", {}, 404),
    ("DELETE", USERS, {}, 405),
    ("PATCH", f"{USERS}/1/sign_up", {"json": {"password": "x" * 20_000}}, 413),
    ("POST", f"{USERS}/sign_up", {"data": "{}", "content_type": "text/plain"}, 415),
    ("GET", USERS, {}, 422),
]


@pytest.mark.parametrize(("method", "path", "options", "status"), REQUESTS)
def test_se8_every_response_has_the_security_headers(
    app: Flask, method: str, path: str, options: Any, status: int
) -> None:
    check_security_headers(anonymous_client(app).open(path, method=method, **options), status)


def check_security_headers(response: TestResponse, status: int) -> None:
    """Check the headers that protect a response in browsers and caches."""
    assert response.status_code == status
    assert response.content_type == "application/json"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-site"
    assert "Set-Cookie" not in response.headers


def test_se9_an_internal_error_reveals_no_details(make_settings: Callable[..., Settings]) -> None:
    app = create_app(make_settings())

    @app.get("/crash")
    def crash() -> str:
        raise RuntimeError("the key is 4711")

    response = anonymous_client(app).get("/crash")
    forget(app)

    check_security_headers(response, 500)
    assert response.json["error"]["code"] == "internal_error"
    assert "4711" not in response.text
    assert "Traceback" not in response.text


def test_se8_the_swagger_page_runs_only_its_own_scripts(app: Flask) -> None:
    first, second = (anonymous_client(app).get("/api/swagger") for _ in range(2))

    policy = first.headers["Content-Security-Policy"]
    nonce = policy.partition("'nonce-")[2].partition("'")[0]
    assert f'nonce="{nonce}"' in first.text
    assert nonce not in second.headers["Content-Security-Policy"]
    assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
    assert "frame-ancestors 'none'" in policy
    assert first.headers["Cache-Control"] == "no-store"
    evil = anonymous_client(app).get("/api/swagger", headers={"Host": "evil.example"}, base_url="http://evil.example")
    assert "evil.example" not in evil.text


@pytest.mark.parametrize(("url", "expected"), [("https://portal.example.org", True), ("http://127.0.0.1:5000", False)])
def test_se8_hsts_is_sent_when_the_public_url_is_https(make_app: MakeApp, url: str, expected: bool) -> None:
    client = anonymous_client(make_app(public_url=url))
    for path in ("/health/live", "/nowhere"):
        # The request arrives by http, because a proxy terminates TLS.
        assert ("Strict-Transport-Security" in client.get(path, base_url="http://localhost").headers) is expected


# CORS.


@pytest.fixture
def portal(make_app: MakeApp) -> Flask:
    """An application whose portal has another origin."""
    return make_app(cors_origins=f"{PORTAL},http://localhost:3000")


def test_se7_an_allowed_origin_may_read_responses_and_send_cookies(portal: Flask) -> None:
    for origin in (PORTAL, "http://localhost:3000"):
        for path in ("/health/live", f"{USERS}?email={ADA}"):
            response = anonymous_client(portal).get(path, headers={"Origin": origin})
            assert response.headers["Access-Control-Allow-Origin"] == origin
            assert response.headers["Access-Control-Allow-Credentials"] == "true"
            assert (
                response.headers["Access-Control-Expose-Headers"] == "Retry-After, X-Request-Id, WWW-Authenticate, Link"
            )
            assert "Origin" in response.vary


OTHER_ORIGINS = [
    "null", "*", "", "https://evil.example", f"{PORTAL}.evil.example", "https://evilportal.example.org",
    "https://evil.portal.example.org", "https://portal.example.org:443", "https://portal.example.org:8443",
    "http://portal.example.org", f"{PORTAL}/", f"{PORTAL}%60.evil.example", f"{PORTAL}, https://evil.example",
    f"{PORTAL} https://evil.example", "https://PORTAL.example.org", "https://portal-example.org", "portal.example.org",
    "https://portal.example.or", f"https://user@{PORTAL[8:]}", "http://localhost:30000", "file://", "https://",
]  # fmt: skip


@pytest.mark.parametrize("origin", OTHER_ORIGINS)
def test_se7_other_origins_get_no_cors_headers(portal: Flask, origin: str) -> None:
    preflight = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
    for response in (
        anonymous_client(portal).get("/health/live", headers={"Origin": origin}),
        anonymous_client(portal).options(USERS, headers=preflight),
    ):
        assert not [name for name in response.headers.keys() if name.startswith("Access-Control")]  # noqa: SIM118
        assert "Origin" in response.vary


def test_se7_a_preflight_of_an_allowed_origin_succeeds(portal: Flask) -> None:
    preflight = {
        "Origin": PORTAL,
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "content-type",
    }
    response = anonymous_client(portal).options(f"{USERS}/1/sign_up", headers=preflight)

    assert (response.status_code, response.data, "Content-Type" in response.headers) == (204, b"", False)
    assert response.headers["Access-Control-Allow-Origin"] == PORTAL
    assert "PATCH" in response.headers["Access-Control-Allow-Methods"]
    assert {"Content-Type", "Authorization", "X-Requested-With"} <= set(
        response.headers["Access-Control-Allow-Headers"].split(", ")
    )
    assert int(response.headers["Access-Control-Max-Age"]) <= 600
    assert response.headers["Cache-Control"] == "no-store"


def test_se7_without_cors_origins_no_origin_gets_cors_headers(app: Flask) -> None:
    for method in ("GET", "OPTIONS"):
        preflight = {"Origin": PORTAL, "Access-Control-Request-Method": "GET"}
        response = anonymous_client(app).open("/health/live", method=method, headers=preflight)
        assert "Access-Control-Allow-Origin" not in response.headers


# Request ids.


@pytest.mark.parametrize("request_id", ["4f1d0c9a", "a-request.of_MINE-0123456789", "a" * 64])
def test_a_valid_request_id_is_kept(app: Flask, request_id: str) -> None:
    for path in ("/health/live", "/nowhere"):
        assert (
            anonymous_client(app).get(path, headers={"X-Request-Id": request_id}).headers["X-Request-Id"] == request_id
        )


@pytest.mark.parametrize(
    "request_id",
    [
        "",
        "short",
        "a" * 65,
        "a b c d e f",
        "<script>alert(1)</script>",
        "aaaaaaaa,bbbbbbbb",
        "aaaaaaaa\u00e4",
        "../../../etc",
    ],
)
def test_an_invalid_request_id_is_replaced(app: Flask, request_id: str) -> None:
    ids = {
        anonymous_client(app).get("/health/live", headers={"X-Request-Id": request_id}).headers["X-Request-Id"]
        for _ in range(3)
    }

    assert len(ids) == 3
    assert all(len(generated) == 32 and generated.isalnum() for generated in ids)


# Flow ticket cookie.


def cookie_of(response: TestResponse) -> tuple[str, str, set[str]]:
    """Name, value and attributes of the only cookie of a response."""
    [cookie] = response.headers.getlist("Set-Cookie")
    pair, *attributes = cookie.split("; ")
    name, _, value = pair.partition("=")
    return name, value, set(attributes)


def test_se4_attributes_of_the_ticket_cookie_in_production(production: Flask) -> None:
    api = ApiClient(production)
    name, value, attributes = cookie_of(api.ask_for_code(api.sign_up(ADA)))

    assert (name, len(value)) == ("__Host-registration", 43)
    assert attributes == {"Secure", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=3600", *_expires(attributes)}


def test_se4_attributes_of_the_ticket_cookie_in_test(api: ApiClient) -> None:
    name, value, attributes = cookie_of(api.ask_for_code(api.sign_up(ADA)))

    assert (name, len(value)) == ("registration", 43)
    assert attributes == {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=3600", *_expires(attributes)}


def _expires(attributes: set[str]) -> set[str]:
    return {attribute for attribute in attributes if attribute.startswith("Expires=")}


def test_se4_only_a_response_that_sends_a_code_sets_the_ticket_cookie(production: Flask) -> None:
    api = ApiClient(production)
    user_id = api.sign_up(ADA)
    _, first, _ = cookie_of(api.ask_for_code(user_id))
    _, resent, _ = cookie_of(api.ask_again(user_id))
    assert first == resent  # a resend keeps the ticket

    others = [api.look_up(ADA), api.confirm(user_id, "000000"), api.finish(user_id), api.ask_for_code(4711)]
    assert [response.headers.get("Set-Cookie") for response in others] == [None] * 4


MALFORMED = ["", "malformed", "a" * 42, "a" * 44, "a" * 42 + "=", "a" * 42 + "é", '"' + "a" * 41 + '"', "a" * 4000]


@pytest.mark.parametrize("ticket", MALFORMED)
def test_cd4_a_malformed_ticket_is_replaced_by_a_new_one(production: Flask, ticket: str) -> None:
    headers = {"Cookie": f"__Host-registration={ticket}"}
    client, path = anonymous_client(production), f"{USERS}/{ApiClient(production).sign_up(ADA)}"

    sent = [client.post(f"{path}/send_code", headers=headers, base_url="https://localhost") for _ in range(2)]

    tickets = {cookie_of(response)[1] for response in sent}
    assert len(tickets) == 2
    assert {len(new_ticket) for new_ticket in tickets} == {43}
    attempt = client.put(f"{path}/mail?code=000000", headers=headers, base_url="https://localhost")
    assert attempt.json["error"]["code"] == "code_expired"


def test_cd4_a_ticket_is_bound_to_its_user(production: Flask) -> None:
    ada, eve = ApiClient(production), ApiClient(production)
    ada_id, eve_id = ada.sign_up(ADA), eve.sign_up("eve@example.org")
    assert ada.ask_for_code(ada_id).status_code == eve.ask_for_code(eve_id).status_code == 200

    assert eve.confirm(ada_id, "000000").json["error"]["code"] == "code_expired"  # type: ignore[index]
    assert eve.confirm(eve_id, "000000").json["error"]["attempts_left"] == 4  # type: ignore[index]
    assert ada.confirm(ada_id, "000000").json["error"]["attempts_left"] == 4  # type: ignore[index]


@pytest.mark.parametrize(
    ("accept_language", "language"),
    [
        ("ru", "ru"),
        ("ru-RU,ru;q=0.9,en;q=0.8", "ru"),
        ("de,ru;q=0.2", "ru"),
        ("en;q=0.1, ru;q=0.2", "ru"),
        ("ru;q=0, en", "en"),
        ("de", "en"),
        ("*", "en"),
        ("", "en"),
        (";;;q=,ru;q=nan", "en"),
        ("../../etc/passwd", "en"),
    ],
)
def test_emails_are_in_the_language_of_accept_language(
    app: Flask, mailbox: Mailbox, accept_language: str, language: str
) -> None:
    api = ApiClient(app, language=accept_language)
    api.ask_for_code(api.sign_up(ADA), 7505)

    assert [message.language for message in mailbox.letters_to(ADA)] == [language]
