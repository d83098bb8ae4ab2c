"""Sign-in with a passkey: level and methods, transports, errors, user enumeration, and without Redis."""

import pytest
from flask import Flask

from auth_service.adapters.crypto.keys import base64url
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.application import MakeApp
from tests.support.authenticator import DEVICE_BOUND, SYNCED, Authenticator, Deviation
from tests.support.passkeys import SIGN_IN, PasskeyUser, begun, claims, sign_in, signed_in
from tests.support.stores import Query

CSRF = {"X-Requested-With": "fetch", "Origin": "http://127.0.0.1:5000"}


@pytest.mark.parametrize("algorithm", [-8, -7, -257])
def test_pk1_a_passkey_of_each_algorithm_signs_in(user: PasskeyUser, algorithm: int) -> None:
    authenticator, _ = user.register(Authenticator(algorithm=algorithm))

    assert sign_in(user.api, authenticator).status_code == 200


@pytest.mark.parametrize(("flags", "reference"), [(SYNCED, "swk"), (DEVICE_BOUND, "hwk")])
def test_lv1_a_session_of_a_passkey_is_aal2_and_names_the_kind_of_passkey(
    user: PasskeyUser, query: Query, flags: int, reference: str
) -> None:
    authenticator, _ = user.register(Authenticator(flags=flags))

    session = signed_in(user.api, authenticator)

    assert claims(session.token)["acr"] == "aal2"
    me = session.call("GET", "/me").get_json()["data"]
    assert (me["acr"], me["amr"]) == ("aal2", [reference, "user"])
    assert query("SELECT method, acr FROM sessions WHERE id = %s", claims(session.token)["sid"]) == [
        ("passkey", "aal2")
    ]
    listed = session.call("GET", "/me/sessions").get_json()["data"]
    assert [each["method"] for each in listed if each["current"]] == ["passkey"]
    events = query("SELECT kind, details ->> 'method' FROM events ORDER BY id DESC LIMIT 1")
    assert events == [("signed_in", "passkey")]
    assert session.list()[0]["last_used_at"] is not None


def test_pk1_in_the_cookie_transport_neither_tokens_nor_ticket_are_in_the_answer(
    app: Flask, passkey: Authenticator
) -> None:
    browser = ApiClient(app)
    data = begun(browser.call("POST", f"{SIGN_IN}/options", headers=CSRF))
    body = {"credential": passkey.get(data["options"]), "transport": "cookie"}

    answer = browser.call("POST", SIGN_IN, json=body, headers=CSRF)

    assert answer.status_code == 200, answer.text
    assert "access_token" not in answer.get_json()["data"]
    assert {cookie.partition("=")[0] for cookie in answer.headers.getlist("Set-Cookie")} == {
        *("access", "refresh", "device", "passkey")
    }
    assert browser.call("GET", "/me").get_json()["data"]["acr"] == "aal2"


def test_pk3_a_ticket_in_a_cookie_needs_the_csrf_header(app: Flask, passkey: Authenticator) -> None:
    browser = ApiClient(app)
    data = begun(browser.call("POST", f"{SIGN_IN}/options", headers=CSRF))

    answer = browser.call("POST", SIGN_IN, json={"credential": passkey.get(data["options"])})

    assert (answer.status_code, refusal(answer)["code"]) == (403, "cross_site")


@pytest.mark.parametrize("handle", [b"", b"x" * 32])
def test_pk2_the_user_handle_of_another_user_is_rejected(
    user: PasskeyUser, passkey: Authenticator, handle: bytes
) -> None:
    answer = sign_in(user.api, passkey, Deviation(response={"userHandle": base64url(handle)}))

    assert (answer.status_code, refusal(answer)["code"]) == (401, "passkey_rejected")
    without = sign_in(user.api, passkey, Deviation(response={"userHandle": None}))
    assert refusal(without)["code"] == "passkey_rejected"


def test_pk6_the_options_take_no_address_and_have_one_size(app: Flask, user: PasskeyUser) -> None:
    before = [ApiClient(app).call("POST", f"{SIGN_IN}/options") for _ in range(2)]
    user.register()
    after = [ApiClient(app).call("POST", f"{SIGN_IN}/options") for _ in range(2)]

    assert len({len(answer.data) for answer in (*before, *after)}) == 1
    assert len({len(answer.headers["Set-Cookie"]) for answer in (*before, *after)}) == 1
    data = after[0].get_json()["data"]
    assert data["options"]["allowCredentials"] == []
    assert data["options"]["challenge"] != before[0].get_json()["data"]["options"]["challenge"]
    with_address = ApiClient(app).call("POST", f"{SIGN_IN}/options", query_string={"email": ADA})
    assert with_address.status_code == 422


def test_pk6_an_unknown_passkey_is_named_so_that_the_provider_can_forget_it(user: PasskeyUser, query: Query) -> None:
    answer = sign_in(user.api, Authenticator(user_handle=b"h" * 32))

    assert (answer.status_code, refusal(answer)["code"]) == (401, "credential_unknown")
    assert query("SELECT kind, user_id, details FROM events ORDER BY id DESC LIMIT 1") == [
        ("sign_in_refused", None, {"method": "passkey"})
    ]


def test_a_rejected_passkey_is_recorded_for_its_user(
    ada: int, user: PasskeyUser, passkey: Authenticator, query: Query
) -> None:
    sign_in(user.api, passkey, Deviation(origin="https://evil.example"))

    assert query("SELECT kind, user_id, outcome, details FROM events ORDER BY id DESC LIMIT 1") == [
        ("sign_in_refused", ada, "failure", {"method": "passkey"})
    ]


def test_a_banned_user_cannot_sign_in_with_a_passkey(
    ada: int, user: PasskeyUser, passkey: Authenticator, query: Query
) -> None:
    query(
        "UPDATE users SET banned_until = 'infinity', banned_at = now(), ban_reason = 'Spam' WHERE id = %s RETURNING 1",
        ada,
    )

    answer = sign_in(user.api, passkey)

    assert (answer.status_code, refusal(answer)["code"]) == (403, "account_banned")


def test_sf14_a_passkey_signs_in_while_redis_is_unavailable(make_app: MakeApp, user: PasskeyUser) -> None:
    authenticator, _ = user.register()
    without_redis = make_app(redis_url="redis://127.0.0.1:1/0")

    session = signed_in(ApiClient(without_redis), authenticator)

    assert session.call("GET", "/me").status_code == 200
    assert session.reauthenticate(authenticator).status_code == 200


def test_a_passkey_signs_in_on_a_new_device_with_a_notification(
    app: Flask, user: PasskeyUser, passkey: Authenticator, mailbox: Mailbox
) -> None:
    assert sign_in(ApiClient(app, address="198.51.100.9"), passkey).status_code == 200

    assert any("new device" in letter.subject for letter in mailbox.letters_to(ADA))


def test_a_password_change_does_not_end_a_passkey(user: PasskeyUser, passkey: Authenticator) -> None:
    assert user.api.change_password(user.token, PASSWORD, "another horse battery").status_code == 200

    assert sign_in(user.api, passkey).status_code == 200
