"""Token introspection (RFC 7662): whether a token of a user is active, and its claims."""

import base64
from typing import Any

import jwt
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support import round_trips
from tests.support.actors import ApiClient, refusal
from tests.support.service_client import INTROSPECT, Shop
from tests.support.stores import Query

INACTIVE = {"active": False}


def test_introspection_returns_the_claims_of_an_access_token(ada: int, tokens: dict[str, Any], shop: Shop) -> None:
    body = shop.learns(tokens["access_token"])

    # The claims of the token, `active` and the token type.
    claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    assert body == {"active": True, "token_type": "Bearer", "amr": ["pwd"], "permissions": [], **claims}
    assert (body["sub"], body["aud"], body["iss"]) == (str(ada), "portal", "http://127.0.0.1:5000")
    assert body["roles"] == ["ROLE_PORTAL_USER"]
    assert shop.learns(tokens["access_token"], token_type_hint="refresh_token") == body
    assert shop.learns(tokens["access_token"], token_type_hint="an unknown hint") == body
    assert shop.ask(tokens["access_token"], token_type_hint=None).get_json()["data"] == body


def test_tk4_a_refresh_token_is_active_only_with_its_type_hint(
    ada: int, tokens: dict[str, Any], shop: Shop, api: ApiClient
) -> None:
    token = tokens["refresh_token"]

    body = shop.learns(token, token_type_hint="refresh_token")

    assert body.keys() == {"active", "token_type", "iss", "sub", "sid", "exp", "roles"}
    assert (body["active"], body["token_type"], body["sub"]) == (True, "refresh_token", str(ada))
    # A service that reads only `active` must not accept a refresh token in place of an access token.
    assert shop.learns(token) == INACTIVE
    assert shop.learns(token, token_type_hint="access_token") == INACTIVE
    # Introspection changes nothing. A rotated token is inactive, and its introspection does not count as reuse.
    successor = api.refresh(token).get_json()["data"]["refresh_token"]
    assert shop.learns(token, token_type_hint="refresh_token") == INACTIVE
    assert shop.learns(successor, token_type_hint="refresh_token")["active"] is True


def test_tk12_introspection_returns_the_current_roles(tokens: dict[str, Any], shop: Shop, query: Query) -> None:
    query("DELETE FROM user_roles")

    assert shop.learns(tokens["access_token"])["roles"] == []


@pytest.mark.clock
@pytest.mark.parametrize("reason", ["sign_out", "idle", "expired", "user deleted", "reused"])
def test_tk12_tokens_of_an_ended_session_are_inactive_without_details(
    tokens: dict[str, Any], shop: Shop, api: ApiClient, query: Query, reason: str
) -> None:
    match reason:
        case "sign_out":
            api.with_token(tokens["access_token"], "POST", "/sign_out")
        case "idle":
            query("UPDATE sessions SET idle_at = now()")
        case "expired":
            query("UPDATE sessions SET expires_at = now()")
        case "user deleted":
            query("DELETE FROM users")
        case "reused":
            query("UPDATE sessions SET counter = 5, refreshed_at = now() - interval '1 hour'")
            api.refresh(tokens["refresh_token"])

    assert shop.learns(tokens["access_token"]) == INACTIVE
    assert shop.learns(tokens["refresh_token"], token_type_hint="refresh_token") == INACTIVE


def test_malformed_tokens_are_inactive(tokens: dict[str, Any], shop: Shop) -> None:
    access, refresh = tokens["access_token"], tokens["refresh_token"]
    head, body, signature = access.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').rstrip(b"=").decode()
    for invalid in (
        "", " ", "x", "x.y.z", "..", "é", "=" * 76, "A" * 12000, "." * 1000, "null",
        f"{none}.{body}.", f"{head}.{body}.", f"{head}.{body}.{signature}x", f"{access} ", f"Bearer {access}",
        refresh[:-2], refresh + "AA", f"svc_{'0' * 12}_{'A' * 43}",
    ):  # fmt: skip
        assert shop.learns(invalid) == INACTIVE, invalid
        assert shop.learns(invalid, token_type_hint="refresh_token") == INACTIVE, invalid
    assert [shop.ask("\0").status_code, shop.ask_by_form("\0").status_code] == [422, 422]


def test_introspection_forms_follow_rfc_6749(tokens: dict[str, Any], shop: Shop) -> None:
    def ask(body: str, kind: str = "application/x-www-form-urlencoded") -> TestResponse:
        return shop.client.post(INTROSPECT, data=body, content_type=kind, headers=shop.headers)

    good = f"token={tokens['access_token']}"
    assert ask(good).get_json()["active"] is True
    assert ask(f"{good}&client_id=shop&resource=x", "application/x-www-form-urlencoded;charset=UTF-8").json["active"]  # type: ignore[index]
    for invalid in (
        "",
        "token_type_hint=access_token",
        f"{good}&{good}",
        f"{good}&token=x",
        "%ff",
        "token=%ff",
        "&" * 50,
    ):
        answer = ask(invalid)
        assert (answer.status_code, refusal(answer)["code"]) == (422, "validation_failed"), invalid
    for kind in ("text/plain", "multipart/form-data", "application/xml"):
        assert refusal(ask(good, kind))["code"] == "content_type_unsupported"
    assert refusal(ask("token=" + "x" * 17_000))["code"] == "body_too_large"
    coded = shop.client.post(
        INTROSPECT, data={"token": tokens["access_token"]}, headers={**shop.headers, "Content-Encoding": "gzip"}
    )
    assert (coded.status_code, refusal(coded)["code"]) == (415, "content_encoding_unsupported")
    unknown = shop.client.post(INTROSPECT, json={"token": "x", "client_id": "shop"}, headers=shop.headers)
    assert refusal(unknown)["code"] == "validation_failed"


def test_introspection_takes_one_query_for_the_key_and_one_for_the_token(
    tokens: dict[str, Any], shop: Shop, app: Flask
) -> None:
    shop.ask(tokens["access_token"])  # fills the cache of signing keys and records the use of the service key

    with round_trips.counted() as waits:
        shop.ask(tokens["access_token"])

    assert len(waits) == 2
