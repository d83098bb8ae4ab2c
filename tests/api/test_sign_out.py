"""Sign-out by access token, refresh token or cookies, and against cross-site requests."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox
from tests.support.sign_out import ENDED, GARBAGE, OWN, PATHS, Session, browser, deleted_cookies, failed
from tests.support.stores import Query

pytestmark = pytest.mark.slow


BEARER: dict[str, tuple[str | None, str | None]] = {
    "access token": ("access", None),
    "refresh token": (None, "refresh"),
    "expired access token, refresh token": ("expired", "refresh"),
    "invalid access token, refresh token": (GARBAGE, "refresh"),
    "access token, refresh token": ("access", "refresh"),
    "access token, invalid refresh token": ("access", GARBAGE),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("case", BEARER)
def test_a_client_without_cookies_signs_out(session: Session, app: Flask, query: Query, path: str, case: str) -> None:
    access, refresh = (name and getattr(session, name, name) for name in BEARER[case])
    client = ApiClient(app, cookies=False)

    answer = client.call(
        "POST",
        path,
        headers={"Authorization": f"Bearer {access}"} if access else {},
        **({"json": {"refresh_token": refresh}} if refresh else {}),
    )

    assert (answer.status_code, answer.get_json()) == (200, {"success": True, "result": "Ok"})
    assert deleted_cookies(answer) == {"access", "refresh"}
    assert query("SELECT end_reason FROM sessions") == [(ENDED[path],)]
    assert query("SELECT count(*) FROM events WHERE kind IN ('signed_out', 'session_ended')") == [(1,)]
    assert failed(client.refresh(session.refresh)) == (401, "refresh_rejected")
    assert failed(client.with_token(session.access, "GET", "/me")) == (401, "token_invalid")


COOKIES: dict[str, dict[str, str]] = {
    "both": {"access": "access", "refresh": "refresh"},
    "access token": {"access": "access"},
    "refresh token": {"refresh": "refresh"},
    "expired access token, refresh token": {"access": "expired", "refresh": "refresh"},
    "invalid access token, refresh token": {"access": GARBAGE, "refresh": "refresh"},
    "access token, invalid refresh token": {"access": "access", "refresh": GARBAGE},
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("case", COOKIES)
def test_a_browser_signs_out_with_cookies(session: Session, app: Flask, query: Query, path: str, case: str) -> None:
    client = browser(app, **{name: getattr(session, value, value) for name, value in COOKIES[case].items()})

    answer = client.call("POST", path, headers=OWN)

    assert answer.status_code == 200, answer.text
    assert deleted_cookies(answer) == {"access", "refresh"}
    assert query("SELECT end_reason FROM sessions") == [(ENDED[path],)]
    assert failed(client.call("GET", "/me")) == (401, "token_missing")


FORGED = [
    {},
    {"Origin": "http://127.0.0.1:5000"},
    {"X-Requested-With": "portal"},
    {"X-Requested-With": "portal", "Origin": "http://127.0.0.1:5001"},
    {"X-Requested-With": "portal", "Origin": "null"},
    {"X-Requested-With": "portal", "Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize("path", [*PATHS, "/refresh_token"])
@pytest.mark.parametrize("case", [*COOKIES, "dead"])
def test_se5_a_cross_site_request_revokes_nothing_and_deletes_no_cookie(
    session: Session, app: Flask, query: Query, path: str, case: str
) -> None:
    cookies = COOKIES.get(case, {"access": GARBAGE, "refresh": GARBAGE})
    client = browser(app, **{name: getattr(session, value, value) for name, value in cookies.items()})
    without_credentials = path == "/refresh_token" and "refresh" not in cookies

    for headers in FORGED:
        answer = client.call("POST", path, headers=headers)
        foreign_origin = headers.get("Origin", OWN["Origin"]) != OWN["Origin"] or "Sec-Fetch-Site" in headers
        rejected = (401, "refresh_rejected") if without_credentials and not foreign_origin else (403, "cross_site")
        assert failed(answer) == rejected, headers
        assert deleted_cookies(answer) == set()

    assert query("SELECT end_reason, counter FROM sessions") == [(None, 0)]


@pytest.mark.parametrize("path", PATHS)
def test_se6_a_sign_out_with_a_bearer_token_ignores_cookies(
    session: Session, app: Flask, query: Query, path: str
) -> None:
    client = browser(app, access=session.access, refresh=session.refresh)

    for token, code in ((session.expired, "token_expired"), (GARBAGE, "token_invalid")):
        answer = client.with_token(token, "POST", path)
        assert failed(answer) == (401, code)
        assert deleted_cookies(answer) == set()

    assert query("SELECT end_reason FROM sessions") == [(None,)]


def test_sign_out_ends_each_session_whose_token_it_gets(
    session: Session, app: Flask, api: ApiClient, query: Query
) -> None:
    other = api.signed_in(ADA, PASSWORD)

    answer = api.with_token(session.access, "POST", "/sign_out", json={"refresh_token": other["refresh_token"]})

    assert answer.status_code == 200
    assert query("SELECT end_reason FROM sessions") == [("signed_out",)] * 2


BESIDE_COOKIES: dict[str, Callable[[Session], dict[str, Any]]] = {
    "refresh token in the body": lambda session: {"json": {"refresh_token": session.refresh}, "headers": {}},
    "access token": lambda session: {"headers": {"Authorization": f"Bearer {session.access}"}},
    "both": lambda session: {
        "json": {"refresh_token": session.refresh},
        "headers": {"Authorization": f"Bearer {session.access}"},
    },
}
"""Tokens that a client sends itself, beside the cookies that the browser adds."""


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("case", BESIDE_COOKIES)
def test_sign_out_leaves_no_session_open_whose_cookies_it_deletes(
    session: Session, app: Flask, api: ApiClient, mailbox: Mailbox, query: Query, path: str, case: str
) -> None:
    api.register("grace@example.org", mailbox, password=PASSWORD)
    of_grace = api.signed_in("grace@example.org", PASSWORD)
    client = browser(app, refresh=of_grace["refresh_token"])
    options = BESIDE_COOKIES[case](session)

    answer = client.call("POST", path, **options | {"headers": options["headers"] | OWN})

    assert answer.status_code == 200
    assert deleted_cookies(answer) == {"access", "refresh"}
    assert query("SELECT end_reason FROM sessions") == [(ENDED[path],)] * 2
    assert query("SELECT count(*) FROM events WHERE kind IN ('signed_out', 'session_ended')") == [(2,)]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("case", BESIDE_COOKIES)
def test_se5_a_sign_out_with_another_token_leaves_cookies_that_a_page_could_have_forged(
    session: Session, app: Flask, api: ApiClient, mailbox: Mailbox, query: Query, path: str, case: str
) -> None:
    api.register("grace@example.org", mailbox, password=PASSWORD)
    of_grace = api.signed_in("grace@example.org", PASSWORD)
    client = browser(app, refresh=of_grace["refresh_token"])

    answer = client.call("POST", path, **BESIDE_COOKIES[case](session))

    assert answer.status_code == 200
    assert deleted_cookies(answer) == set()
    assert query("SELECT end_reason FROM sessions ORDER BY opened_at") == [(ENDED[path],), (None,)]
    assert client.call("POST", "/refresh_token", headers=OWN).status_code == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("case", BESIDE_COOKIES)
def test_sign_out_with_a_token_and_cookies_of_one_session_is_recorded_once(
    session: Session, app: Flask, query: Query, path: str, case: str
) -> None:
    client = browser(app, access=session.expired, refresh=session.refresh)
    options = BESIDE_COOKIES[case](session)

    answer = client.call("POST", path, **options | {"headers": options["headers"] | OWN})

    assert answer.status_code == 200
    assert deleted_cookies(answer) == {"access", "refresh"}
    assert query("SELECT end_reason FROM sessions") == [(ENDED[path],)]
    assert query("SELECT count(*) FROM events WHERE kind IN ('signed_out', 'session_ended')") == [(1,)]
