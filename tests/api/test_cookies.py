"""Session cookies and the CSRF check (`Origin`, `Sec-Fetch-Site`, `X-Requested-With`)."""

import pytest

from tests.support.actors import ApiClient, Mailbox, refusal

EMAIL, PASSWORD = "ada@example.org", "correct horse battery"
SAME_ORIGIN = {"Origin": "http://127.0.0.1:5000", "X-Requested-With": "portal"}


@pytest.fixture
def ada(api: ApiClient, mailbox: Mailbox) -> int:
    return api.register(EMAIL, mailbox, password=PASSWORD)


@pytest.mark.clock
def test_se4_a_browser_signs_in_refreshes_and_signs_out_with_cookies(ada: int, api: ApiClient) -> None:
    body = {"email": EMAIL, "password": PASSWORD, "transport": "cookie"}
    response = api.call("POST", "/sign_in", json=body, headers=SAME_ORIGIN)

    assert response.get_json()["data"] == {"token_type": "Bearer", "expires_in": 900}
    cookies = [value for name, value in response.headers if name == "Set-Cookie"]
    assert len(cookies) == 3
    for cookie in cookies:
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert api.call("GET", "/me").get_json()["data"]["id"] == ada
    assert api.call("POST", "/refresh_token", headers=SAME_ORIGIN).status_code == 200
    assert api.call("POST", "/sign_out", headers=SAME_ORIGIN).status_code == 200
    assert api.call("GET", "/me").status_code == 401


def test_signing_out_everywhere_clears_the_cookies(ada: int, api: ApiClient) -> None:
    api.call(
        "POST", "/sign_in", json={"email": EMAIL, "password": PASSWORD, "transport": "cookie"}, headers=SAME_ORIGIN
    )

    response = api.call("POST", "/sign_out/everywhere", headers=SAME_ORIGIN)

    assert response.status_code == 200
    cleared = [cookie for cookie in response.headers.getlist("Set-Cookie") if "Max-Age=0" in cookie]
    assert len(cleared) == 2
    assert api.call("GET", "/me").get_json()["error"]["code"] == "token_missing"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://127.0.0.1:5000"},
        {"X-Requested-With": "portal", "Origin": "https://evil.example"},
        {"X-Requested-With": "portal", "Origin": "null"},
        {"X-Requested-With": "portal", "Origin": "http://127.0.0.1:5000.evil.example"},
        {"X-Requested-With": "portal", "Sec-Fetch-Site": "cross-site"},
        {"X-Requested-With": "portal", "Sec-Fetch-Site": "same-site"},
        {"X-Requested-With": "portal", "Sec-Fetch-Site": "none"},
        {"X-Requested-With": "portal"},
        {"X-Requested-With": "", "Origin": "http://127.0.0.1:5000"},
    ],
)
def test_se5_the_csrf_check_rejects_cookie_requests_from_other_origins(
    ada: int, api: ApiClient, headers: dict[str, str]
) -> None:
    body = {"email": EMAIL, "password": PASSWORD, "transport": "cookie"}
    signing_in = api.call("POST", "/sign_in", json=body, headers=headers)
    assert (signing_in.status_code, refusal(signing_in)["code"]) == (403, "cross_site")

    api.call("POST", "/sign_in", json=body, headers=SAME_ORIGIN)
    for path in ("/sign_out", "/refresh_token"):
        forged = api.call("POST", path, headers=headers)
        assert (forged.status_code, refusal(forged)["code"]) == (403, "cross_site")
    assert api.call("GET", "/me").status_code == 200, "still signed in"


def test_se6_a_request_with_a_bearer_token_ignores_cookies(ada: int, api: ApiClient) -> None:
    api.call(
        "POST", "/sign_in", json={"email": EMAIL, "password": PASSWORD, "transport": "cookie"}, headers=SAME_ORIGIN
    )

    assert api.with_token("nonsense", "GET", "/me").status_code == 401
