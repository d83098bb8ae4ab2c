"""Round trips: the requests of second factors, for the table of `round_trips_table.py`."""

from tests.support.accounts import PASSWORD, Accounts
from tests.support.delayed_reset import CANCEL, RESET, cancel_token
from tests.support.round_trips_administration import CASES
from tests.support.round_trips_cases import Request, row
from tests.support.second_factor import CODES, TOTP, ProtectedUser, app_of, begin, enrolled

__all__ = ["CASES"]

SIGN_IN, STEP = "POST /api/v1/users/sign_in", "POST /api/v1/users/sign_in/second_step"


def protected(accounts: Accounts) -> ProtectedUser:
    """A new account with TOTP."""
    account = accounts.account()
    return enrolled(account.api, account.email, token=account.tokens["access_token"])


def reset_request(accounts: Accounts) -> tuple[ProtectedUser, Request]:
    """A new account with TOTP, and the request for the delayed reset with its emailed code."""
    user = protected(accounts)
    body = {"ticket": user.ticket()}
    assert user.api.call("POST", RESET, json=body).status_code == 200
    body["code"] = accounts.mailbox.code_sent_to(user.email)
    return user, lambda: user.api.call("POST", RESET, json=body)


@row(SIGN_IN, "with TOTP, first step", status=401)
def _(accounts: Accounts) -> Request:
    return protected(accounts).first_step


@row(SIGN_IN, "trusted device")
def _(accounts: Accounts) -> Request:
    user = protected(accounts)
    assert user.second_step(user.ticket(), totp=user.next_code(), trust_device=True).status_code == 200
    return user.first_step


@row(STEP, "TOTP")
def _(accounts: Accounts) -> Request:
    user = protected(accounts)
    ticket, code = user.ticket(), user.next_code()
    return lambda: user.second_step(ticket, totp=code)


@row(STEP, "recovery code")
def _(accounts: Accounts) -> Request:
    user = protected(accounts)
    ticket = user.ticket()
    return lambda: user.second_step(ticket, recovery_code=user.recovery_codes[0])


@row(STEP, "wrong TOTP code", status=401)
def _(accounts: Accounts) -> Request:
    user = protected(accounts)
    ticket, code = user.ticket(), user.wrong_code()
    return lambda: user.second_step(ticket, totp=code)


@row(STEP, "delayed TOTP code", status=401)
def _(accounts: Accounts) -> Request:
    user = protected(accounts)
    ticket, code = user.ticket(), user.wrong_code()
    for _ in range(6):
        user.second_step(ticket, totp=code)
    return lambda: user.second_step(ticket, totp=code)


@row(f"POST /api/v1/users{RESET}", "without a code")
def _(accounts: Accounts) -> Request:
    user = protected(accounts)
    ticket = user.ticket()
    return lambda: user.api.call("POST", RESET, json={"ticket": ticket})


@row(f"POST /api/v1/users{RESET}", "with the code")
def _(accounts: Accounts) -> Request:
    return reset_request(accounts)[1]


@row(f"POST /api/v1/users{CANCEL}")
def _(accounts: Accounts) -> Request:
    user, request = reset_request(accounts)
    assert request().status_code == 200
    token = cancel_token(accounts.mailbox.letters_to(user.email)[0])
    return lambda: user.api.call("POST", CANCEL, json={"token": token})


@row("GET /account/second_factor_reset")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.get("/account/second_factor_reset")


@row("POST /api/v1/users/me/reauthenticate", "with the password and TOTP")
def _(accounts: Accounts) -> Request:
    user = protected(accounts)
    return lambda: user.reauthenticate(password=PASSWORD, totp=user.next_code())


@row("GET /api/v1/users/me/second_factor")
def _(accounts: Accounts) -> Request:
    account = accounts.shared
    return lambda: account.call("GET", "/me/second_factor")


@row(f"POST /api/v1/users{TOTP}", status=201)
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    return lambda: account.call("POST", TOTP)


@row(f"PUT /api/v1/users{TOTP}")
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    app = app_of(begin(account.api, account.tokens["access_token"]))
    return lambda: account.call("PUT", TOTP, json={"totp": app.now()})


@row(f"DELETE /api/v1/users{TOTP}")
def _(accounts: Accounts) -> Request:
    user = protected(accounts)
    return lambda: user.call("DELETE", TOTP)


@row(f"POST /api/v1/users{CODES}")
def _(accounts: Accounts) -> Request:
    user = protected(accounts)
    return lambda: user.call("POST", CODES)


@row("POST /api/v1/admin/users/{user_id}/reset_second_factor")
def _(accounts: Accounts) -> Request:
    path = f"/admin/users/{accounts.account().id}/reset_second_factor"
    return lambda: accounts.administrator.call("POST", path, json={"reason": "a test"})
