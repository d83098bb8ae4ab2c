"""Front ends of developers: loopback origins in profile `local`, and what a failed CSRF check says."""

import pytest
from flask import Flask

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.application import MakeApp

BODY = {"email": ADA, "password": PASSWORD, "transport": "cookie"}
LOOPBACK = [
    "http://localhost:5173",
    "http://localhost",
    "https://localhost:3000",
    "http://127.0.0.1:5173",
    "http://127.0.0.1",
    "http://127.8.0.1:8080",
    "http://[::1]:5173",
    "https://[::1]",
]
OTHERS = [
    "http://localhost.evil.example",
    "http://evil.example",
    "http://localhost@evil.example",
    "http://localhost:5173/",
    "http://localhost:5173 ",
    "http://xlocalhost",
    "http://127.0.0.1.evil.example",
    "http://127.0.0.1:5173.evil.example",
    "http://1127.0.0.1",
    "http://128.0.0.1",
    "http://192.168.0.7:5173",
    "http://[::2]:5173",
    "ftp://localhost",
    "capacitor://localhost",
    "null",
    "",
]


@pytest.fixture
def local(make_app: MakeApp) -> Flask:
    """The application that `make run` starts."""
    return make_app(app_env="local")


def is_allowed(app: Flask, origin: str) -> bool:
    """Whether a page of this origin passes the CSRF check and may read answers; both have to agree."""
    headers = {"Origin": origin, "X-Requested-With": "portal"}
    checked = ApiClient(app).call("POST", "/sign_in", json=BODY, headers=headers)
    with_a_cookie = ApiClient(app, cookies=False).call(
        "POST", "/1/resend_code", headers={**headers, "Cookie": "registration=x"}
    )
    preflight = app.test_client().options(
        "/api/v1/users/me", headers={"Origin": origin, "Access-Control-Request-Method": "GET"}
    )
    passed = {refusal(answer)["code"] != "cross_site" for answer in (checked, with_a_cookie)}
    readable = {
        answer.headers.get("Access-Control-Allow-Origin") == origin for answer in (checked, with_a_cookie, preflight)
    }
    assert len(passed | readable) == 1, (passed, readable)
    return True in passed


def test_in_local_every_page_of_this_machine_may_call_the_api(local: Flask) -> None:
    assert [origin for origin in LOOPBACK if not is_allowed(local, origin)] == []


def test_se7_in_local_other_pages_may_not_call_the_api(local: Flask) -> None:
    assert [origin for origin in OTHERS if is_allowed(local, origin)] == []


@pytest.mark.parametrize("profile", ["test", "production"])
def test_se7_in_other_profiles_loopback_origins_are_not_allowed(make_app: MakeApp, profile: str) -> None:
    app = make_app(app_env=profile, cors_origins="https://www.example.org")
    assert [origin for origin in LOOPBACK if is_allowed(app, origin)] == []
    assert is_allowed(app, "https://www.example.org")


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"X-Requested-With": "portal", "Origin": "https://evil.example"}, "origin"),
        ({"X-Requested-With": "portal", "Origin": "null"}, "origin"),
        ({"X-Requested-With": "portal"}, "origin"),
        ({"X-Requested-With": "portal", "Sec-Fetch-Site": "same-site"}, "origin"),
        ({}, "origin"),
        ({"Origin": "http://127.0.0.1:5000"}, "header"),
        ({"Origin": "http://127.0.0.1:5000", "X-Requested-With": ""}, "header"),
        ({"Origin": "http://localhost:5173", "Sec-Fetch-Site": "same-site"}, "header"),
        ({"Sec-Fetch-Site": "same-origin"}, "header"),
        ({"X-Requested-With": "portal", "Origin": "http://localhost:5173", "Sec-Fetch-Site": "cross-site"}, "site"),
    ],
)
def test_the_csrf_check_says_what_is_wrong(local: Flask, headers: dict[str, str], reason: str) -> None:
    answer = ApiClient(local).call("POST", "/sign_in", json=BODY, headers=headers)

    error = refusal(answer)
    assert (answer.status_code, error["code"], error["reason"]) == (403, "cross_site", reason)
    assert all(f"`{reason}`" in error["msg"] for reason in ("origin", "header", "site"))


def test_the_csrf_check_of_a_session_says_what_is_wrong(ada: int, app: Flask, make_app: MakeApp) -> None:
    local = make_app(app_env="local")
    api = ApiClient(local)
    page = {"Origin": "http://localhost:5173", "X-Requested-With": "portal", "Sec-Fetch-Site": "same-origin"}
    assert api.call("POST", "/sign_in", json=BODY, headers=page).status_code == 200, "a dev proxy needs no setting"

    for method, path in (("POST", "/refresh_token"), ("POST", "/sign_out"), ("DELETE", "/me/sessions")):
        for headers, reason in (
            ({**page, "Origin": "http://evil.example"}, "origin"),
            ({"Origin": page["Origin"]}, "header"),
        ):
            answer = api.call(method, path, headers=headers)
            assert (answer.status_code, refusal(answer)["reason"]) == (403, reason), (method, path)
    assert api.call("POST", "/sign_out", headers=page).status_code == 200


def test_a_sign_in_from_another_site_says_that_the_browser_would_not_keep_the_cookies(
    ada: int, make_app: MakeApp
) -> None:
    """`localhost` and `127.0.0.1` are two sites: the sign-in would answer 200, and the next request 401."""
    api = ApiClient(make_app(app_env="local"))
    page = {"Origin": "http://localhost:5173", "X-Requested-With": "portal", "Sec-Fetch-Site": "cross-site"}

    answer = api.call("POST", "/sign_in", json=BODY, headers=page, base_url="http://127.0.0.1:5000")

    assert (answer.status_code, refusal(answer)["reason"]) == (403, "site")
    assert "Set-Cookie" not in answer.headers
    bearer = {**BODY, "transport": "bearer"}
    assert api.call("POST", "/sign_in", json=bearer, headers=page).status_code == 200, "needs no session cookie"


def test_in_production_a_registration_from_another_site_fails_before_a_code_is_sent(
    make_app: MakeApp, mailbox_of_production: Mailbox
) -> None:
    """The browser would not keep the flow ticket, so no code could work."""
    origin = "https://www.other.example"
    api = ApiClient(make_app(app_env="production", cors_origins=origin))
    user_id = api.sign_up(ADA)

    for path in ("send_code", "resend_code"):
        answer = api.call("POST", f"/{user_id}/{path}", headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"})
        assert (answer.status_code, refusal(answer)["reason"]) == (403, "site")
    assert mailbox_of_production.letters_to(ADA) == []
    for site in ("same-site", "same-origin"):
        headers = {"Origin": origin, "Sec-Fetch-Site": site}
        assert api.call("POST", f"/{user_id}/send_code", headers=headers).status_code == 200
