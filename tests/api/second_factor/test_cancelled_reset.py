"""Cancellation of a delayed reset: by every second factor, by the link of the emails, by changes of the account."""

from collections.abc import Callable

import pytest
from flask import Flask

from tests.support.actors import ADA, PASSWORD, ApiClient, refusal
from tests.support.delayed_reset import Owner, cancel_token, run_due
from tests.support.passkeys import SECOND_STEP, PasskeyUser, begun, sign_in
from tests.support.races import together
from tests.support.second_factor import CODES, ProtectedUser

CANCELLED = "SELECT count(*) FROM events WHERE kind = 'second_factor.reset_cancelled'"


def totp(owner: Owner) -> int:
    return owner.user.second_step(owner.user.ticket(), totp=owner.user.unused_code()).status_code


def recovery_code(owner: Owner) -> int:
    return owner.user.second_step(owner.user.ticket(), recovery_code=owner.user.recovery_codes[0]).status_code


def reauthentication(owner: Owner) -> int:
    return owner.user.reauthenticate(password=PASSWORD, totp=owner.user.unused_code()).status_code


def passkey_sign_in(owner: Owner) -> int:
    authenticator, _ = PasskeyUser(owner.user.api, owner.user.access_token).register()
    owner.request()
    return sign_in(owner.user.api, authenticator).status_code


def passkey_second_step(owner: Owner) -> int:
    api = owner.user.api
    authenticator, _ = PasskeyUser(api, owner.user.access_token).register()
    owner.request()
    data = begun(api.call("POST", f"{SECOND_STEP}/options", json={"ticket": owner.user.ticket()}))
    body = {"credential": authenticator.get(data["options"]), "ticket": data["ticket"]}
    return api.call("POST", SECOND_STEP, json=body).status_code


@pytest.mark.parametrize(
    "prove", [totp, recovery_code, reauthentication, passkey_sign_in, passkey_second_step], ids=lambda act: act.__name__
)
def test_sf11_every_second_factor_cancels_the_reset(owner: Owner, prove: Callable[[Owner], int]) -> None:
    owner.request()

    assert prove(owner) == 200

    assert owner.query(CANCELLED) == [(1,)]
    assert owner.query("SELECT count(*) FROM second_factor_resets") == [(0,)]
    owner.pass_all_time()
    assert owner.has_factors()


def test_sf11_a_wrong_code_and_a_sign_in_on_a_trusted_device_cancel_nothing(owner: Owner) -> None:
    user = owner.user
    user.second_step(user.ticket(), totp=user.unused_code(), trust_device=True)
    elsewhere = Owner(user, owner.mailbox, owner.query, owner.app)
    user.api, browser = ApiClient(owner.app), user.api
    elsewhere.request()

    assert user.second_step(user.ticket(), totp=user.wrong_code()).status_code == 401
    assert browser.sign_in(ADA, PASSWORD).status_code == 200

    assert owner.is_pending()


def test_sf11_the_link_of_an_email_cancels_the_reset_once(owner: Owner) -> None:
    owner.request()
    token = cancel_token(owner.emails("will be reset")[0])
    unknown = owner.cancel("A" * 43)
    assert (unknown.status_code, refusal(unknown)["code"]) == (404, "undo_unknown")
    assert owner.is_pending()

    assert owner.cancel(token).status_code == 200

    assert not owner.is_pending()
    assert owner.query(CANCELLED) == [(1,)]
    assert owner.cancel(token).status_code == 404
    owner.request()
    assert owner.cancel(token).status_code == 404, "the link of another request"
    assert owner.is_pending()


def reset_password(owner: Owner) -> None:
    owner.user.api.ask_to_recover(ADA)
    answer = owner.user.api.recover(ADA, owner.mailbox.code_sent_to(ADA), "another horse battery")
    assert answer.status_code == 200, answer.text


def revert_account(owner: Owner) -> None:
    assert owner.user.api.undo(owner.mailbox.undo_sent_to(ADA, about="new device")).status_code == 200


def replace_codes(owner: Owner) -> None:
    assert owner.user.call("POST", CODES).status_code == 200


@pytest.mark.parametrize("change", [reset_password, revert_account, replace_codes], ids=lambda act: act.__name__)
def test_sf11_a_change_of_credentials_or_factors_makes_the_reset_void(
    owner: Owner, change: Callable[[Owner], None]
) -> None:
    """An attacker who has requested it does not profit after the owner has changed what the attacker knew."""
    elsewhere = ApiClient(owner.app, address="198.51.100.9")
    ProtectedUser(api=elsewhere, email=ADA, app=owner.user.app, query=owner.query).signed_in()
    owner.request()

    change(owner)

    owner.pass_all_time()
    assert owner.has_factors()
    assert owner.query("SELECT count(*) FROM second_factor_resets") == [(0,)]
    assert owner.emails("was reset") == []


def test_sf11_a_request_after_such_a_change_begins_anew(owner: Owner) -> None:
    before = owner.request()
    owner.query("UPDATE second_factor_resets SET effective_at = now(), next_at = now() RETURNING 1")
    replace_codes(owner)

    assert owner.request() > before

    assert len(owner.emails("will be reset")) == 2


def test_sf11_a_reset_that_is_cancelled_as_it_takes_effect_is_one_of_both(owner: Owner, app: Flask) -> None:
    owner.request()
    owner.pass_time(days=4)
    token = cancel_token(owner.emails("Reminder")[0])
    owner.query("UPDATE second_factor_resets SET effective_at = now(), next_at = now() RETURNING 1")

    cancelled, _ = together(lambda: owner.cancel(token).status_code, lambda: run_due(app))

    assert owner.has_factors() == (cancelled == 200)
