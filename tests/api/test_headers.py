"""What every answer says besides its body: security headers, CORS, request ids, tickets; and the languages."""

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


def anybody(app: Flask) -> Any:
    """A client that sends what it is told, and keeps no cookies."""
    return app.test_client(use_cookies=False)


ANSWERS = [
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


@pytest.mark.parametrize(("method", "path", "options", "status"), ANSWERS)
def test_se8_every_answer_is_closed(app: Flask, method: str, path: str, options: Any, status: int) -> None:
    check_closed(anybody(app).open(path, method=method, **options), status)


def check_closed(answer: TestResponse, status: int) -> None:
    """Whether an answer has all that browsers and caches have to be told."""
    assert answer.status_code == status
    assert answer.content_type == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-site"
    assert "Set-Cookie" not in answer.headers


def test_se9_a_crash_tells_nothing(make_settings: Callable[..., Settings]) -> None:
    app = create_app(make_settings())

    @app.get("/crash")
    def crash() -> str:
        raise RuntimeError("the key is 4711")

    answer = anybody(app).get("/crash")
    forget(app)

    check_closed(answer, 500)
    assert answer.json["error"]["code"] == "internal_error"
    assert "4711" not in answer.text
    assert "Traceback" not in answer.text


def test_se8_the_swagger_page_runs_only_its_own_scripts(app: Flask) -> None:
    first, second = (anybody(app).get("/api/swagger") for _ in range(2))

    policy = first.headers["Content-Security-Policy"]
    nonce = policy.partition("'nonce-")[2].partition("'")[0]
    assert f'nonce="{nonce}"' in first.text
    assert nonce not in second.headers["Content-Security-Policy"]
    assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
    assert "frame-ancestors 'none'" in policy
    assert first.headers["Cache-Control"] == "no-store"
    evil = anybody(app).get("/api/swagger", headers={"Host": "evil.example"}, base_url="http://evil.example")
    assert "evil.example" not in evil.text


@pytest.mark.parametrize(("url", "told"), [("https://portal.example.org", True), ("http://127.0.0.1:5000", False)])
def test_se8_hsts_where_the_public_url_is_https(make_app: MakeApp, url: str, told: bool) -> None:
    client = anybody(make_app(public_url=url))
    for path in ("/health/live", "/nowhere"):
        # Where the request itself came by http, there is a proxy in front that ends TLS.
        assert ("Strict-Transport-Security" in client.get(path, base_url="http://localhost").headers) is told


# CORS.


@pytest.fixture
def portal(make_app: MakeApp) -> Flask:
    """An application whose portal lives at another origin."""
    return make_app(cors_origins=f"{PORTAL},http://localhost:3000")


def test_se7_the_portal_may_read_and_send_cookies(portal: Flask) -> None:
    for origin in (PORTAL, "http://localhost:3000"):
        for path in ("/health/live", f"{USERS}?email={ADA}"):
            answer = anybody(portal).get(path, headers={"Origin": origin})
            assert answer.headers["Access-Control-Allow-Origin"] == origin
            assert answer.headers["Access-Control-Allow-Credentials"] == "true"
            assert answer.headers["Access-Control-Expose-Headers"] == "Retry-After, X-Request-Id"
            assert "Origin" in answer.vary


STRANGE_ORIGINS = [
    "null", "*", "", "https://evil.example", f"{PORTAL}.evil.example", "https://evilportal.example.org",
    "https://evil.portal.example.org", "https://portal.example.org:443", "https://portal.example.org:8443",
    "http://portal.example.org", f"{PORTAL}/", f"{PORTAL}%60.evil.example", f"{PORTAL}, https://evil.example",
    f"{PORTAL} https://evil.example", "https://PORTAL.example.org", "https://portal-example.org", "portal.example.org",
    "https://portal.example.or", f"https://user@{PORTAL[8:]}", "http://localhost:30000", "file://", "https://",
]  # fmt: skip


@pytest.mark.parametrize("origin", STRANGE_ORIGINS)
def test_se7_nobody_else_may(portal: Flask, origin: str) -> None:
    asked = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
    for answer in (
        anybody(portal).get("/health/live", headers={"Origin": origin}),
        anybody(portal).options(USERS, headers=asked),
    ):
        assert not [name for name in answer.headers.keys() if name.startswith("Access-Control")]  # noqa: SIM118
        assert "Origin" in answer.vary


def test_se7_a_preflight(portal: Flask) -> None:
    asked = {
        "Origin": PORTAL,
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "content-type",
    }
    answer = anybody(portal).options(f"{USERS}/1/sign_up", headers=asked)

    assert (answer.status_code, answer.data, "Content-Type" in answer.headers) == (204, b"", False)
    assert answer.headers["Access-Control-Allow-Origin"] == PORTAL
    assert "PATCH" in answer.headers["Access-Control-Allow-Methods"]
    assert {"Content-Type", "Authorization", "X-Requested-With"} <= set(
        answer.headers["Access-Control-Allow-Headers"].split(", ")
    )
    assert int(answer.headers["Access-Control-Max-Age"]) <= 600
    assert answer.headers["Cache-Control"] == "no-store"


def test_se7_without_a_list_nobody_may(app: Flask) -> None:
    for method in ("GET", "OPTIONS"):
        asked = {"Origin": PORTAL, "Access-Control-Request-Method": "GET"}
        answer = anybody(app).open("/health/live", method=method, headers=asked)
        assert "Access-Control-Allow-Origin" not in answer.headers


# Request ids.


@pytest.mark.parametrize("given", ["4f1d0c9a", "a-request.of_MINE-0123456789", "a" * 64])
def test_a_sane_request_id_is_kept(app: Flask, given: str) -> None:
    for path in ("/health/live", "/nowhere"):
        assert anybody(app).get(path, headers={"X-Request-Id": given}).headers["X-Request-Id"] == given


@pytest.mark.parametrize(
    "given",
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
def test_an_odd_request_id_is_replaced(app: Flask, given: str) -> None:
    ids = {anybody(app).get("/health/live", headers={"X-Request-Id": given}).headers["X-Request-Id"] for _ in range(3)}

    assert len(ids) == 3
    assert all(len(made) == 32 and made.isalnum() for made in ids)


# The ticket.


def cookie_of(answer: TestResponse) -> tuple[str, str, set[str]]:
    """Name, value and attributes of the one cookie of an answer."""
    [cookie] = answer.headers.getlist("Set-Cookie")
    pair, *attributes = cookie.split("; ")
    name, _, value = pair.partition("=")
    return name, value, set(attributes)


def test_se4_the_ticket_in_production(production: Flask) -> None:
    api = ApiClient(production)
    name, value, attributes = cookie_of(api.ask_for_code(api.sign_up(ADA)))

    assert (name, len(value)) == ("__Host-registration", 43)
    assert attributes == {"Secure", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=3600", *_expires(attributes)}


def test_se4_the_ticket_in_test(api: ApiClient) -> None:
    name, value, attributes = cookie_of(api.ask_for_code(api.sign_up(ADA)))

    assert (name, len(value)) == ("registration", 43)
    assert attributes == {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=3600", *_expires(attributes)}


def _expires(attributes: set[str]) -> set[str]:
    return {attribute for attribute in attributes if attribute.startswith("Expires=")}


def test_se4_only_a_code_on_its_way_brings_a_ticket(production: Flask) -> None:
    api = ApiClient(production)
    ada = api.sign_up(ADA)
    _, first, _ = cookie_of(api.ask_for_code(ada))
    _, again, _ = cookie_of(api.ask_again(ada))
    assert first == again  # the browser stays the holder

    others = [api.look_up(ADA), api.confirm(ada, "000000"), api.finish(ada), api.ask_for_code(4711)]
    assert [answer.headers.get("Set-Cookie") for answer in others] == [None] * 4


MALFORMED = ["", "malformed", "a" * 42, "a" * 44, "a" * 42 + "=", "a" * 42 + "é", '"' + "a" * 41 + '"', "a" * 4000]


@pytest.mark.parametrize("ticket", MALFORMED)
def test_cd4_a_malformed_ticket_is_nobodys(production: Flask, ticket: str) -> None:
    headers = {"Cookie": f"__Host-registration={ticket}"}
    client, path = anybody(production), f"{USERS}/{ApiClient(production).sign_up(ADA)}"

    sent = [client.post(f"{path}/send_code", headers=headers, base_url="https://localhost") for _ in range(2)]

    tickets = {cookie_of(answer)[1] for answer in sent}
    assert len(tickets) == 2
    assert {len(made) for made in tickets} == {43}
    guess = client.put(f"{path}/mail?code=000000", headers=headers, base_url="https://localhost")
    assert guess.json["error"]["code"] == "code_expired"


def test_cd4_a_ticket_counts_for_its_user_only(production: Flask) -> None:
    ada, eve = ApiClient(production), ApiClient(production)
    adas, eves = ada.sign_up(ADA), eve.sign_up("eve@example.org")
    assert ada.ask_for_code(adas).status_code == eve.ask_for_code(eves).status_code == 200

    assert eve.confirm(adas, "000000").json["error"]["code"] == "code_expired"  # type: ignore[index]
    assert eve.confirm(eves, "000000").json["error"]["attempts_left"] == 4  # type: ignore[index]
    assert ada.confirm(adas, "000000").json["error"]["attempts_left"] == 4  # type: ignore[index]


@pytest.mark.parametrize(
    ("asked", "written"),
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
def test_letters_are_in_a_language_that_was_asked_for(app: Flask, mailbox: Mailbox, asked: str, written: str) -> None:
    api = ApiClient(app, language=asked)
    api.ask_for_code(api.sign_up(ADA), 7505)

    assert [letter.language for letter in mailbox.letters_to(ADA)] == [written]
