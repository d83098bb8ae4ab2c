"""Trusted devices: skip the second step, not the first, until something changes."""

from collections.abc import Callable

import pytest
from flask import Flask

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.second_factor import CODES, TOTP, ProtectedUser, app_of, begin, enrolled
from tests.support.stores import Query

NEW = "another horse battery"


@pytest.fixture
def trusted(protected: ProtectedUser) -> ProtectedUser:
    """Ada trusts the device of her client; her newest session has two factors."""
    answer = protected.second_step(protected.ticket(), totp=protected.unused_code(), trust_device=True)
    assert answer.status_code == 200
    protected.access_token = answer.get_json()["data"]["access_token"]
    return protected


def test_sf10_a_trusted_device_skips_the_second_step_but_not_the_first(trusted: ProtectedUser, app: Flask) -> None:
    for _ in range(2):  # a sign-in renews the cookie of the device, and keeps the trust
        answer = trusted.first_step()
        assert answer.status_code == 200
        me = trusted.api.with_token(answer.get_json()["data"]["access_token"], "GET", "/me").get_json()["data"]
        assert (me["acr"], me["amr"]) == ("aal1", ["pwd"])
    assert refusal(trusted.api.sign_in(ADA, "a wrong password"))["code"] == "credentials_rejected"
    assert refusal(ApiClient(app).sign_in(ADA, PASSWORD))["code"] == "second_factor_required", "another device"


def test_sf10_without_the_wish_a_device_is_not_trusted(protected: ProtectedUser) -> None:
    protected.signed_in()

    assert refusal(protected.first_step())["code"] == "second_factor_required"


def test_sf10_the_session_of_a_trusted_device_cannot_change_the_account(trusted: ProtectedUser) -> None:
    token = trusted.first_step().get_json()["data"]["access_token"]

    for method, path, body in (
        ("DELETE", TOTP, None),
        ("PUT", "/me/password", {"current_password": PASSWORD, "new_password": NEW}),
        ("POST", "/me/email", {"email": "new@example.org", "password": PASSWORD}),
        ("DELETE", "/me", {"password": PASSWORD}),
    ):
        answer = trusted.api.with_token(token, method, path, **({"json": body} if body else {}))
        assert (answer.status_code, refusal(answer)["code"]) == (401, "insufficient_user_authentication"), path


Change = Callable[[ProtectedUser, Mailbox], str]
"""Changes the account; returns the password."""


def change_password(user: ProtectedUser, mailbox: Mailbox) -> str:
    assert user.api.change_password(user.access_token, PASSWORD, NEW).status_code == 200
    return NEW


def reset_password(user: ProtectedUser, mailbox: Mailbox) -> str:
    user.api.ask_to_recover(ADA)
    assert user.api.recover(ADA, mailbox.code_sent_to(ADA), NEW).status_code == 200
    return NEW


def replace_recovery_codes(user: ProtectedUser, mailbox: Mailbox) -> str:
    assert user.call("POST", CODES).status_code == 200
    return PASSWORD


def enrol_anew(user: ProtectedUser, mailbox: Mailbox) -> str:
    assert user.call("DELETE", TOTP).status_code == 200
    app = app_of(begin(user.api, user.access_token))
    assert user.call("PUT", TOTP, json={"totp": app.now()}).status_code == 200
    return PASSWORD


@pytest.mark.parametrize("change", [change_password, reset_password, replace_recovery_codes, enrol_anew])
def test_sf10_every_change_of_password_or_factor_ends_the_trust(
    trusted: ProtectedUser, mailbox: Mailbox, change: Change
) -> None:
    password = change(trusted, mailbox)

    assert refusal(trusted.api.sign_in(ADA, password))["code"] == "second_factor_required"


def test_sf10_the_trust_is_worthless_on_another_account(
    trusted: ProtectedUser, mailbox: Mailbox, query: Query, app: Flask
) -> None:
    other = ApiClient(app)
    other.register("grace@example.org", mailbox, password=PASSWORD)
    enrolled(other, "grace@example.org", query)

    answer = trusted.api.sign_in("grace@example.org", PASSWORD)

    assert refusal(answer)["code"] == "second_factor_required"


def test_sf10_a_trust_from_before_ends_when_trusted_devices_are_switched_off(
    make_app: Callable[..., Flask], trusted: ProtectedUser, app: Flask
) -> None:
    cookie = trusted.api.client.get_cookie("device")
    assert cookie is not None

    def sign_in_at(app: Flask) -> int:
        api = ApiClient(app)
        api.client.set_cookie("device", cookie.value)
        return api.sign_in(ADA, PASSWORD).status_code

    assert [sign_in_at(app), sign_in_at(make_app(device_trust_seconds="0"))] == [200, 401]


def test_sf10_zero_seconds_switch_trusted_devices_off(make_app: Callable[..., Flask], ada: int, query: Query) -> None:
    user = enrolled(ApiClient(make_app(device_trust_seconds="0")), ADA, query)
    user.second_step(user.ticket(), totp=user.unused_code(), trust_device=True)

    assert refusal(user.first_step())["code"] == "second_factor_required"
