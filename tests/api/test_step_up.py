"""Step-up authentication (RFC 9470): levels in tokens, recent authentication, reauthentication with a new session."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
from flask import Flask

from auth_service.adapters.email.dev_inbox import DevInbox
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.administration import AdminClient, Administration
from tests.support.application import MakeApp

Query = Callable[..., list[Any]]
REAUTHENTICATE = "/me/reauthenticate"


def claims(token: str) -> dict[str, Any]:
    decoded: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return decoded


def by_password(api: ApiClient, mailbox: Mailbox) -> dict[str, Any]:
    return api.signed_in(ADA, PASSWORD)


def by_code(api: ApiClient, mailbox: Mailbox) -> dict[str, Any]:
    api.ask_to_sign_in(ADA)
    tokens: dict[str, Any] = api.sign_in_by_code(ADA, mailbox.code_sent_to(ADA)).get_json()["data"]
    return tokens


@pytest.mark.parametrize(("sign_in", "method"), [(by_password, "pwd"), (by_code, "email")])
def test_lv1_a_session_has_a_level_a_time_and_methods_that_refreshes_keep(
    sign_in: Callable[[ApiClient, Mailbox], dict[str, Any]], method: str, api: ApiClient, ada: int, mailbox: Mailbox
) -> None:
    tokens = sign_in(api, mailbox)
    first = claims(tokens["access_token"])

    for _ in range(3):
        tokens = api.refresh(tokens["refresh_token"]).get_json()["data"]

    last = claims(tokens["access_token"])
    assert (last["acr"], last["auth_time"]) == (first["acr"], first["auth_time"]) == ("aal1", first["auth_time"])
    assert abs(first["auth_time"] - first["iat"]) <= 1
    me = api.with_token(tokens["access_token"], "GET", "/me").get_json()["data"]
    assert (me["acr"], me["amr"], me["auth_time"]) == ("aal1", [method], first["auth_time"])


@pytest.mark.parametrize(("age", "status"), [(599, 201), (601, 401)])
def test_lv2_a_write_with_a_permission_needs_a_recent_authentication(
    administration: Administration, age: int, status: int
) -> None:
    admin = administration.administrator()
    administration.age_session(admin.user_id or 0, age)

    answer = admin.call("POST", "/roles", json={"name": "ROLE_EDITOR"})

    assert answer.status_code == status, answer.text
    assert admin.call("GET", "/roles").status_code == 200, "a read needs no recent authentication"
    if status == 401:
        error = answer.get_json()["error"]
        assert error["code"] == "insufficient_user_authentication"
        assert (error["acr_values"], error["max_age"], error["methods"]) == ("aal1", 600, ["password", "code"])
        assert answer.headers["WWW-Authenticate"] == (
            'Bearer error="insufficient_user_authentication", acr_values="aal1", max_age=600'
        )


def test_lv2_a_service_key_needs_no_recent_authentication(administration: Administration) -> None:
    service = administration.service("roles:write")

    assert service.call("POST", "/roles", json={"name": "ROLE_EDITOR"}).status_code == 201


def test_lv3_reauthentication_by_password_replaces_the_session(
    administration: Administration, app: Flask, query: Query
) -> None:
    admin = administration.administrator(ADA)
    administration.age_session(admin.user_id or 0, 601)
    api = ApiClient(app)
    old = api.signed_in(ADA, PASSWORD)
    administration.age_session(admin.user_id or 0, 601)
    before = query(
        "SELECT expires_at, device, transport FROM sessions WHERE id = %s", claims(old["access_token"])["sid"]
    )

    answer = api.with_token(old["access_token"], "POST", REAUTHENTICATE, json={"password": PASSWORD})

    assert answer.status_code == 200, answer.text
    new = answer.get_json()["data"]
    assert claims(new["access_token"])["sid"] != claims(old["access_token"])["sid"]
    assert not api.is_signed_in(old["access_token"])
    assert api.refresh(old["refresh_token"]).status_code == 401
    after = query(
        "SELECT expires_at, device, transport FROM sessions WHERE id = %s", claims(new["access_token"])["sid"]
    )
    assert after == before
    client = AdminClient(app, {"Authorization": f"Bearer {new['access_token']}"})
    assert client.call("POST", "/roles", json={"name": "ROLE_EDITOR"}).status_code == 201
    assert api.refresh(new["refresh_token"]).status_code == 200
    events = query(
        "SELECT kind, details ->> 'method' FROM events WHERE user_id = %s ORDER BY id DESC LIMIT 2", admin.user_id
    )
    assert set(events) == {("reauthenticated", "password"), ("session_ended", None)}


def test_lv3_reauthentication_by_code_replaces_the_session(
    api: ApiClient, token: str, mailbox: Mailbox, query: Query
) -> None:
    assert api.with_token(token, "POST", f"{REAUTHENTICATE}/send_code").status_code == 200
    code = mailbox.code_sent_to(ADA)

    assert refusal(api.with_token(token, "POST", REAUTHENTICATE, json={"code": wrong(code)}))["code"] == "code_wrong"
    answer = api.with_token(token, "POST", REAUTHENTICATE, json={"code": code})

    assert answer.status_code == 200
    assert api.with_token(answer.get_json()["data"]["access_token"], "GET", "/me").get_json()["data"]["amr"] == [
        "email"
    ]
    assert not api.is_signed_in(token)


def wrong(code: str) -> str:
    return "000000" if code != "000000" else "000001"


def test_lv3_a_code_of_the_old_session_is_invalid_in_the_new_one(api: ApiClient, token: str, mailbox: Mailbox) -> None:
    api.with_token(token, "POST", f"{REAUTHENTICATE}/send_code")
    code = mailbox.code_sent_to(ADA)
    new = api.with_token(token, "POST", REAUTHENTICATE, json={"password": PASSWORD}).get_json()["data"]["access_token"]

    assert refusal(api.with_token(new, "POST", REAUTHENTICATE, json={"code": code}))["code"] == "code_expired"


def test_lv3_a_pending_email_change_survives_a_reauthentication(api: ApiClient, token: str, mailbox: Mailbox) -> None:
    assert api.ask_to_move(token, "new@example.org", password=PASSWORD).status_code == 200
    code = mailbox.code_sent_to("new@example.org")
    for _ in range(2):
        answer = api.with_token(token, "POST", REAUTHENTICATE, json={"password": PASSWORD})
        token = answer.get_json()["data"]["access_token"]

    assert api.move(token, code).status_code == 200
    assert api.with_token(token, "GET", "/me").get_json()["data"]["email"] == "new@example.org"


def test_lv3_cookies_are_replaced_and_the_body_has_no_tokens(app: Flask, ada: int) -> None:
    api = ApiClient(app)
    headers = {"X-Requested-With": "portal", "Origin": "http://127.0.0.1:5000"}
    signed_in = api.call(
        "POST", "/sign_in", json={"email": ADA, "password": PASSWORD, "transport": "cookie"}, headers=headers
    )
    assert signed_in.status_code == 200, signed_in.text
    before = api.client.get_cookie("access")

    answer = api.call("POST", REAUTHENTICATE, json={"password": PASSWORD}, headers=headers)

    assert answer.status_code == 200, answer.text
    assert answer.get_json()["data"].keys() == {"token_type", "expires_in"}
    after = api.client.get_cookie("access")
    assert before is not None
    assert after is not None
    assert before.value != after.value
    assert api.call("GET", "/me").status_code == 200


@pytest.mark.parametrize(
    "body",
    [{}, {"password": PASSWORD, "code": "123456"}, {"password": PASSWORD, "totp": "123456"}, {"recovery_code": "x"}],
)
def test_lv3_a_reauthentication_takes_one_factor(api: ApiClient, token: str, body: dict[str, str]) -> None:
    assert refusal(api.with_token(token, "POST", REAUTHENTICATE, json=body))["code"] == "validation_failed"


def test_lv3_wrong_passwords_are_counted_and_throttled(
    api: ApiClient, token: str, lasting_pauses: Callable[[], None]
) -> None:
    codes = []
    for _ in range(7):
        codes.append(
            refusal(api.with_token(token, "POST", REAUTHENTICATE, json={"password": "wrong password"}))["code"]
        )
        lasting_pauses()

    assert codes == ["password_wrong"] * 5 + ["too_many_attempts"] * 2


def test_lv5_of_concurrent_reauthentications_one_opens_a_session(
    app: Flask, ada: int, api: ApiClient, token: str, query: Query
) -> None:
    clients = [ApiClient(app, cookies=False) for _ in range(20)]

    with ThreadPoolExecutor(len(clients)) as pool:
        answers = list(
            pool.map(
                lambda client: client.with_token(token, "POST", REAUTHENTICATE, json={"password": PASSWORD}), clients
            )
        )

    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 401, 429, 503}
    [(alive,)] = query("SELECT count(*) FROM sessions WHERE user_id = %s AND ended_at IS NULL", ada)
    assert alive == 1


def test_lv1_a_role_that_requires_a_second_factor_restricts_the_session(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app(second_factor_roles="ROLE_PORTAL_ADMIN")
    administration = Administration(app, Mailbox(app, DevInbox(tmp_path / "inbox")))
    admin = administration.administrator()

    assert admin.error("GET", "/roles") == (403, "second_factor_enrolment_required")
    assert admin.error("GET", "/users/me/export") == (403, "second_factor_enrolment_required")
    assert admin.error("GET", "/sessions/verify") == (403, "second_factor_enrolment_required")
    assert admin.call("GET", "/users/me").status_code == 200
    assert admin.call("POST", "/users/sign_out").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 200, None),
        ({"X-Require-Acr": "aal1", "X-Require-Max-Age": "600", "X-Require-Permission": "films:edit"}, 200, None),
        ({"X-Require-Acr": "aal2"}, 401, "insufficient_user_authentication"),
        ({"X-Require-Max-Age": "100"}, 401, "insufficient_user_authentication"),
        ({"X-Require-Permission": "films:burn"}, 403, "permission_missing"),
        ({"X-Require-Acr": "aal3"}, 422, "validation_failed"),
        ({"X-Require-Max-Age": "-1"}, 422, "validation_failed"),
        ({"X-Require-Max-Age": "soon"}, 422, "validation_failed"),
    ],
)
def test_lv4_a_gateway_requires_a_level_an_age_or_a_permission(
    administration: Administration, headers: dict[str, str], status: int, code: str | None
) -> None:
    user = administration.with_permissions(ADA, "films:edit")
    administration.age_session(user.user_id or 0, 300)

    answer = user.call("GET", "/sessions/verify", headers=headers)

    assert answer.status_code == status, answer.text
    if code:
        assert answer.get_json()["error"]["code"] == code
    if status == 401:
        level, age = headers.get("X-Require-Acr", "aal1"), headers.get("X-Require-Max-Age", "600")
        expected = f'Bearer error="insufficient_user_authentication", acr_values="{level}", max_age={age}'
        assert answer.headers["WWW-Authenticate"] == expected
