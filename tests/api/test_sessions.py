"""Sessions: sign-in, refresh token rotation, the session list, sign-out and revocation."""

import base64
import json
import string
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.races import at_once, outcome
from tests.support.stores import Query


def test_a_user_signs_in_and_reads_the_account(ada: int, api: ApiClient) -> None:
    tokens = api.signed_in(ADA, PASSWORD)

    assert tokens.keys() == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 900)
    me = api.with_token(tokens["access_token"], "GET", "/me")
    assert me.get_json() == {
        "success": True,
        "data": {
            "id": ada,
            "email": ADA,
            "roles": ["ROLE_PORTAL_USER"],
            "permissions": [],
            "verified_mail": True,
            "auth_time": claims_of(tokens["access_token"])["auth_time"],
            "acr": "aal1",
            "amr": ["pwd"],
        },
    }


def test_en1_every_failed_sign_in_gets_the_same_response(
    ada: int, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    api.sign_up("temporary@example.org")
    ApiClient(app).register("without@example.org", mailbox)
    client = ApiClient(app)

    answers = [
        client.sign_in(ADA, "a wrong password"),
        client.sign_in("unknown@example.org", PASSWORD),
        client.sign_in("temporary@example.org", PASSWORD),
        client.sign_in("without@example.org", PASSWORD),
    ]

    assert {answer.text for answer in answers} == {answers[0].text}
    assert refusal(answers[0])["code"] == "credentials_rejected"
    assert {answer.status_code for answer in answers} == {401}
    headers = [{name for name, _ in answer.headers} for answer in answers]
    assert all(names == headers[0] for names in headers)


def test_tk13_malformed_credentials_get_401_and_www_authenticate(api: ApiClient) -> None:
    for header, code in (
        (None, "token_missing"),
        ("Bearer", "token_invalid"),
        ("Bearer ", "token_invalid"),
        ("Bearer x.y.z", "token_invalid"),
        ("Basic YTpi", "token_invalid"),
        ("Bearer " + "a" * 4000, "token_invalid"),
    ):
        answer = api.call("GET", "/me", headers={"Authorization": header} if header else {})
        assert (answer.status_code, refusal(answer)["code"]) == (401, code), header
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_tk9_refresh_tokens_rotate_and_reuse_revokes_the_session(
    ada: int, api: ApiClient, mailbox: Mailbox, query: Query
) -> None:
    first = api.signed_in(ADA, PASSWORD)
    second = api.refresh(first["refresh_token"]).get_json()["data"]
    third = api.refresh(second["refresh_token"]).get_json()["data"]
    assert len({tokens["refresh_token"] for tokens in (first, second, third)}) == 3

    stolen = api.refresh(first["refresh_token"])

    assert (stolen.status_code, refusal(stolen)["code"]) == (401, "refresh_rejected")
    for tokens in (first, second, third):
        assert api.with_token(tokens["access_token"], "GET", "/me").status_code == 401
    assert api.refresh(third["refresh_token"]).status_code == 401
    assert query("SELECT end_reason FROM sessions") == [("refresh_reused",)]
    assert query("SELECT count(*) FROM events WHERE kind = 'refresh_reused'") == [(1,)]
    assert query("SELECT count(*) FROM letters WHERE kind = 'refresh_reused'") == [(1,)]


@pytest.mark.clock
def test_tk10_a_refresh_repeated_within_thirty_seconds_returns_the_same_successor(
    ada: int, api: ApiClient, query: Query
) -> None:
    first = api.signed_in(ADA, PASSWORD)

    again = [api.refresh(first["refresh_token"]).get_json()["data"]["refresh_token"] for _ in range(3)]

    assert len(set(again)) == 1
    query("UPDATE sessions SET refreshed_at = now() - interval '31 seconds'")
    assert api.refresh(first["refresh_token"]).status_code == 401
    assert api.refresh(again[0]).status_code == 401, "the session is revoked"


def test_tk10_fifty_concurrent_refreshes_get_one_successor(ada: int, crowded: Flask, api: ApiClient) -> None:
    first = api.signed_in(ADA, PASSWORD)

    answers = at_once(50, lambda: ApiClient(crowded).refresh(first["refresh_token"]))

    assert {outcome(answer) for answer in answers} == {(200, "")}
    assert len({answer.get_json()["data"]["refresh_token"] for answer in answers}) == 1


def test_malformed_refresh_tokens_are_rejected(ada: int, api: ApiClient) -> None:
    token = api.signed_in(ADA, PASSWORD)["refresh_token"]
    flipped = ("A" if token[5] != "A" else "B").join((token[:5], token[6:]))

    for malformed in (flipped, token[:-2], token + "AA", "x", "é", "=" * 76):
        assert refusal(api.refresh(malformed))["code"] == "refresh_rejected"
    assert api.refresh(token).status_code == 200


def test_tk12_a_signed_out_session_is_rejected_on_the_next_request(ada: int, api: ApiClient) -> None:
    tokens = api.signed_in(ADA, PASSWORD)

    assert api.with_token(tokens["access_token"], "POST", "/sign_out").get_json() == {
        "success": True,
        "result": "Ok",
    }

    assert api.with_token(tokens["access_token"], "GET", "/me").status_code == 401
    assert api.refresh(tokens["refresh_token"]).status_code == 401


def test_tk11_a_flush_of_redis_revives_no_session(
    ada: int, api: ApiClient, forget_everything_in_redis: Callable[[], None]
) -> None:
    ended = api.signed_in(ADA, PASSWORD)
    alive = api.signed_in(ADA, PASSWORD)
    api.with_token(ended["access_token"], "POST", "/sign_out")

    forget_everything_in_redis()

    assert api.with_token(ended["access_token"], "GET", "/me").status_code == 401
    assert api.with_token(alive["access_token"], "GET", "/me").status_code == 200


def test_se2_a_user_lists_and_revokes_sessions(ada: int, api: ApiClient, app: Flask, mailbox: Mailbox) -> None:
    phone, laptop, tablet = (api.signed_in(ADA, PASSWORD) for _ in range(3))
    token = laptop["access_token"]

    listed = api.with_token(token, "GET", "/me/sessions").get_json()

    assert listed["next_cursor"] is None
    assert [session["current"] for session in listed["data"]] == [False, True, False]
    assert listed["data"][0].keys() == {
        "id",
        "device",
        "address",
        "method",
        "opened_at",
        "last_used_at",
        "current",
    }
    newest = listed["data"][0]["id"]
    assert api.with_token(token, "DELETE", f"/me/sessions/{newest}").status_code == 200
    assert api.with_token(tablet["access_token"], "GET", "/me").status_code == 401
    assert api.with_token(token, "DELETE", "/me/sessions").status_code == 200
    assert api.with_token(phone["access_token"], "GET", "/me").status_code == 401
    assert api.with_token(token, "GET", "/me").status_code == 200


def test_se2_a_user_signs_out_everywhere(ada: int, api: ApiClient) -> None:
    phone, laptop = (api.signed_in(ADA, PASSWORD) for _ in range(2))

    assert api.with_token(laptop["access_token"], "POST", "/sign_out/everywhere").status_code == 200

    for pair in (phone, laptop):
        assert api.with_token(pair["access_token"], "GET", "/me").status_code == 401
        assert api.refresh(pair["refresh_token"]).status_code == 401
    assert api.sign_in(ADA, PASSWORD).status_code == 200


def test_in8_the_session_list_is_paginated(ada: int, api: ApiClient) -> None:
    _, token, *_ = (api.signed_in(ADA, PASSWORD)["access_token"] for _ in range(5))
    everything = api.with_token(token, "GET", "/me/sessions").get_json()["data"]

    listed: list[dict[str, object]] = []
    cursor = ""
    while cursor is not None:
        page = api.with_token(token, "GET", f"/me/sessions?limit=2{cursor and f'&cursor={cursor}'}").get_json()
        assert 0 < len(page["data"]) <= 2
        listed += page["data"]
        cursor = page["next_cursor"]

    assert listed == everything
    assert [session["current"] for session in listed] == [False, False, False, True, False]


@pytest.mark.parametrize("page", ["limit=0", "limit=51", "limit=x", "cursor=x", "cursor=", "cursor=AAAA"])
def test_in8_invalid_page_parameters_of_the_session_list_are_rejected(ada: int, api: ApiClient, page: str) -> None:
    token = api.signed_in(ADA, PASSWORD)["access_token"]

    answer = api.with_token(token, "GET", f"/me/sessions?{page}")

    assert (answer.status_code, refusal(answer)["fields"][0]["field"]) == (422, page.partition("=")[0])


def test_in8_a_cursor_of_one_list_is_rejected_by_another(ada: int, api: ApiClient) -> None:
    token, _ = (api.signed_in(ADA, PASSWORD)["access_token"] for _ in range(2))
    cursor = api.with_token(token, "GET", "/me/sessions?limit=1").get_json()["next_cursor"]

    assert api.with_token(token, "GET", f"/me/login_history?cursor={cursor}").status_code == 422


def test_revoking_an_ended_session_gets_session_unknown_and_records_no_access_denied(
    ada: int, api: ApiClient, query: Query
) -> None:
    old, token = (api.signed_in(ADA, PASSWORD) for _ in range(2))
    [_, first] = api.with_token(token["access_token"], "GET", "/me/sessions").get_json()["data"]
    assert api.with_token(old["access_token"], "POST", "/sign_out").status_code == 200

    answer = api.with_token(token["access_token"], "DELETE", f"/me/sessions/{first['id']}")

    assert (answer.status_code, refusal(answer)["code"]) == (404, "session_unknown")
    assert query("SELECT count(*) FROM events WHERE kind = 'access_denied'") == [(0,)]


def test_az2_the_session_of_another_user_is_not_found(ada: int, api: ApiClient, app: Flask, mailbox: Mailbox) -> None:
    hers = api.signed_in(ADA, PASSWORD)
    session = api.with_token(hers["access_token"], "GET", "/me/sessions").get_json()["data"][0]["id"]
    other = ApiClient(app)
    other.register("grace@example.org", mailbox, password=PASSWORD)
    token = other.signed_in("grace@example.org", PASSWORD)["access_token"]

    for unknown in (session, str(uuid.uuid4())):
        answer = other.with_token(token, "DELETE", f"/me/sessions/{unknown}")
        assert (answer.status_code, refusal(answer)["code"]) == (404, "session_unknown")
    assert api.with_token(hers["access_token"], "GET", "/me").status_code == 200


@pytest.mark.clock
@pytest.mark.parametrize("column", ["idle_at", "expires_at"])
def test_tk8_sessions_expire(ada: int, api: ApiClient, query: Query, column: str) -> None:
    tokens = api.signed_in(ADA, PASSWORD)
    query(f"UPDATE sessions SET {column} = now()")

    assert api.with_token(tokens["access_token"], "GET", "/me").status_code == 401
    assert api.refresh(tokens["refresh_token"]).status_code == 401


def claims_of(token: str) -> dict[str, Any]:
    """The claims of an access token, without verification."""
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def test_tk6_a_token_contains_the_roles_of_its_own_user_only(
    ada: int, api: ApiClient, app: Flask, mailbox: Mailbox, query: Query
) -> None:
    other = ApiClient(app)
    admin = other.register("grace@example.org", mailbox, password=PASSWORD)
    query("INSERT INTO roles VALUES ('ROLE_ADMINISTRATOR') ON CONFLICT DO NOTHING")
    query(f"INSERT INTO user_roles VALUES ({admin}, 'ROLE_ADMINISTRATOR')")

    first = api.signed_in(ADA, PASSWORD)
    theirs = [other.signed_in("grace@example.org", PASSWORD) for _ in range(2)]
    second = api.signed_in(ADA, PASSWORD)
    refreshed = api.refresh(second["refresh_token"]).get_json()["data"]

    for tokens in (first, second, refreshed):
        assert claims_of(tokens["access_token"])["roles"] == ["ROLE_PORTAL_USER"]
    for tokens in theirs:
        assert claims_of(tokens["access_token"])["roles"] == ["ROLE_ADMINISTRATOR", "ROLE_PORTAL_USER"]
    query("DELETE FROM user_roles WHERE role = 'ROLE_ADMINISTRATOR'")
    query("DELETE FROM roles WHERE name = 'ROLE_ADMINISTRATOR'")


def test_a_refresh_token_has_one_spelling(ada: int, api: ApiClient) -> None:
    token = api.signed_in(ADA, PASSWORD)["refresh_token"]
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"

    for other in (f"{token}=", f"{token}==", *(token[:-1] + last for last in alphabet if last != token[-1])):
        assert api.refresh(other).status_code == 401
    assert api.refresh(token).status_code == 200
