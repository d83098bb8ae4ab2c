"""Dead sessions: sign-out and refresh delete their cookies, and a reused refresh token revokes the session."""

from typing import Any

import pytest
from flask import Flask

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox
from tests.support.races import at_once, outcome
from tests.support.sign_out import DEAD, OWN, PATHS, Session, browser, deleted_cookies, failed, reused, revoked
from tests.support.stores import Query

pytestmark = pytest.mark.slow


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
    revoked(api, session, query)

    answer = browser(app, access=session.access).call("POST", path, headers=OWN)

    assert failed(answer) == (401, "token_invalid")
    assert deleted_cookies(answer) == {"access", "refresh"}


@pytest.mark.parametrize("path", PATHS)
def test_sign_out_without_credentials_is_unauthenticated(ada: int, app: Flask, path: str) -> None:
    answer = ApiClient(app).call("POST", path, headers=OWN)

    assert failed(answer) == (401, "token_missing")
    assert deleted_cookies(answer) == set()
    assert failed(ApiClient(app).call("POST", path, json={"refresh_token": 5})) == (422, "validation_failed")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("by_cookie", [False, True])
def test_tk9_sign_out_with_a_reused_refresh_token_revokes_the_session_and_notifies_the_owner(
    session: Session, app: Flask, api: ApiClient, mailbox: Mailbox, query: Query, path: str, by_cookie: bool
) -> None:
    reused(api, session, query)

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
