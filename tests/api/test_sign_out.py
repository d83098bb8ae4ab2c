"""Sign-out by access token or refresh token, and session cookies that are deleted when they are dead."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_service.wiring import Services
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.forgery import Forger, decoded
from tests.support.races import at_once, outcome
from tests.support.stores import Query

pytestmark = pytest.mark.slow

OWN = {"Origin": "http://127.0.0.1:5000", "X-Requested-With": "portal"}
PATHS = ["/sign_out", "/sign_out/everywhere"]
ENDED = {"/sign_out": "signed_out", "/sign_out/everywhere": "ended_by_owner"}

GARBAGE = "garbage"
"""In place of a token."""


@dataclass
class Session:
    """A session of Ada, with an access token that has expired."""

    access: str
    expired: str
    refresh: str


@pytest.fixture
def session(ada: int, api: ApiClient, app: Flask, services: Services) -> Session:
    tokens = api.signed_in(ADA, PASSWORD)
    header, claims, _ = tokens["access_token"].split(".")
    with app.app_context():
        key = services.signing_keys.for_verification().signing_key
    forger = Forger(header=decoded(header), claims=decoded(claims), key=key)
    issued_at = forger.claims["iat"] - 1000
    expired = forger.token(iat=issued_at, nbf=issued_at, exp=issued_at + 900)
    return Session(access=tokens["access_token"], expired=expired, refresh=tokens["refresh_token"])


def browser(app: Flask, **cookies: str) -> ApiClient:
    """A browser with these cookies."""
    client = ApiClient(app)
    for name, value in cookies.items():
        client.client.set_cookie(name, value, domain="localhost", secure=True)
    return client


def deleted_cookies(answer: TestResponse) -> set[str]:
    """The names of the cookies that an answer deletes."""
    cookies = answer.headers.getlist("Set-Cookie")
    assert all("Max-Age=0" in cookie for cookie in cookies), cookies
    return {cookie.partition("=")[0] for cookie in cookies}


def failed(answer: TestResponse) -> tuple[int, str]:
    """Status and code of an error."""
    return answer.status_code, refusal(answer)["code"]


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


# Dead sessions.


def _revoked(api: ApiClient, session: Session, query: Query) -> None:
    assert api.with_token(session.access, "POST", "/sign_out").status_code == 200


def _idle(api: ApiClient, session: Session, query: Query) -> None:
    query("UPDATE sessions SET idle_at = now()")


def _expired(api: ApiClient, session: Session, query: Query) -> None:
    query("UPDATE sessions SET expires_at = now(), idle_at = now()")


def _reused(api: ApiClient, session: Session, query: Query) -> None:
    api.refresh(api.refresh(session.refresh).get_json()["data"]["refresh_token"])


def _deleted(api: ApiClient, session: Session, query: Query) -> None:
    assert api.leave(session.access, password=PASSWORD).status_code == 200


def _malformed(api: ApiClient, session: Session, query: Query) -> None:
    session.refresh = session.refresh[:-4] + "AAAA"


DEAD: list[Callable[[ApiClient, Session, Query], None]] = [_revoked, _idle, _expired, _reused, _deleted, _malformed]


@pytest.mark.parametrize("path", [*PATHS, "/refresh_token"])
@pytest.mark.parametrize("kill", DEAD)
def test_a_browser_does_not_keep_the_cookies_of_a_dead_session(
    session: Session, app: Flask, api: ApiClient, query: Query, kill: Any, path: str
) -> None:
    kill(api, session, query)
    client = browser(app, refresh=session.refresh)

    answer = client.call("POST", path, headers=OWN)

    assert failed(answer) == (401, "refresh_rejected")
    assert deleted_cookies(answer) == {"access", "refresh"}
    assert failed(client.call("GET", "/me")) == (401, "token_missing")


@pytest.mark.parametrize("path", [*PATHS, "/refresh_token"])
@pytest.mark.parametrize("kill", DEAD)
def test_a_rejected_refresh_token_in_the_body_deletes_no_cookie(
    session: Session, app: Flask, api: ApiClient, query: Query, kill: Any, path: str
) -> None:
    kill(api, session, query)

    answer = ApiClient(app).call("POST", path, json={"refresh_token": session.refresh})

    assert failed(answer) == (401, "refresh_rejected")
    assert deleted_cookies(answer) == set()


@pytest.mark.parametrize("path", PATHS)
def test_sign_out_deletes_the_access_cookie_of_a_dead_session(
    session: Session, app: Flask, api: ApiClient, query: Query, path: str
) -> None:
    _revoked(api, session, query)

    answer = browser(app, access=session.access).call("POST", path, headers=OWN)

    assert failed(answer) == (401, "token_invalid")
    assert deleted_cookies(answer) == {"access", "refresh"}


@pytest.mark.parametrize("path", PATHS)
def test_sign_out_without_credentials_is_unauthenticated(ada: int, app: Flask, path: str) -> None:
    answer = ApiClient(app).call("POST", path, headers=OWN)

    assert failed(answer) == (401, "token_missing")
    assert deleted_cookies(answer) == set()
    assert failed(ApiClient(app).call("POST", path, json={"refresh_token": 5})) == (422, "validation_failed")


# Reuse detection.


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("by_cookie", [False, True])
def test_tk9_sign_out_with_a_reused_refresh_token_revokes_the_session_and_notifies_the_owner(
    session: Session, app: Flask, api: ApiClient, mailbox: Mailbox, query: Query, path: str, by_cookie: bool
) -> None:
    _reused(api, session, query)

    if by_cookie:
        answer = browser(app, refresh=session.refresh).call("POST", path, headers=OWN)
    else:
        answer = ApiClient(app).call("POST", path, json={"refresh_token": session.refresh})

    assert failed(answer) == (401, "refresh_rejected")
    assert query("SELECT end_reason FROM sessions") == [("refresh_reused",)]
    assert query("SELECT count(*) FROM letters WHERE kind = 'refresh_reused'") == [(1,)]


@pytest.mark.clock
def test_tk10_sign_out_accepts_a_rotated_token_within_thirty_seconds_while_its_successor_is_unused(
    session: Session, app: Flask, api: ApiClient, query: Query
) -> None:
    other = api.signed_in(ADA, PASSWORD)
    for token in (session.refresh, other["refresh_token"]):
        assert api.refresh(token).status_code == 200
    body = {"refresh_token": session.refresh}

    assert ApiClient(app).call("POST", "/sign_out", json=body).status_code == 200
    query("UPDATE sessions SET refreshed_at = now() - interval '31 seconds'")
    late = ApiClient(app).call("POST", "/sign_out", json={"refresh_token": other["refresh_token"]})

    assert failed(late) == (401, "refresh_rejected")
    assert query("SELECT end_reason FROM sessions ORDER BY opened_at") == [("signed_out",), ("refresh_reused",)]


def test_tk10_sign_out_does_not_rotate_the_token_of_another_session(
    session: Session, app: Flask, api: ApiClient
) -> None:
    other = api.signed_in(ADA, PASSWORD)

    assert ApiClient(app).call("POST", "/sign_out", json={"refresh_token": session.refresh}).status_code == 200

    assert api.is_signed_in(other["access_token"])
    assert api.refresh(other["refresh_token"]).status_code == 200


def test_tk12_of_twenty_concurrent_sign_outs_by_refresh_token_one_is_recorded(
    ada: int, crowded: Flask, query: Query
) -> None:
    token = ApiClient(crowded).signed_in(ADA, PASSWORD)["refresh_token"]

    answers = at_once(20, lambda: ApiClient(crowded).call("POST", "/sign_out", json={"refresh_token": token}))

    assert {outcome(answer) for answer in answers} <= {(200, ""), (401, "refresh_rejected")}
    assert query("SELECT count(*) FROM events WHERE kind = 'signed_out'") == [(1,)]
    assert query("SELECT count(*) FROM events WHERE kind = 'refresh_reused'") == [(0,)]
