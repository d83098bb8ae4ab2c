"""Round trips: the typical request of every endpoint, for the table of `round_trips_table.py`."""

from collections.abc import Callable
from dataclasses import dataclass

from werkzeug.test import TestResponse

from tests.support.accounts import OTHER_PASSWORD, PASSWORD, WRONG_PASSWORD, Accounts

ANOTHER_NETWORK = "198.51.100.9"

Request = Callable[[], TestResponse]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One row: prepare, and send one request that is measured."""

    endpoint: str
    case: str
    status: int
    prepare: Callable[[Accounts], Request]


CASES: list[Case] = []


def row(endpoint: str, case: str = "", *, status: int = 200) -> Callable[[Callable[[Accounts], Request]], None]:
    """Add a row to the table; the function prepares the case and returns the request."""

    def add(prepare: Callable[[Accounts], Request]) -> None:
        CASES.append(Case(endpoint=endpoint, case=case, status=status, prepare=prepare))

    return add


def wrong(code: str) -> str:
    """Another code."""
    return "000000" if code != "000000" else "000001"


# Registration.


@row("GET /api/v1/users")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.api().look_up(accounts.shared.email)


@row("POST /api/v1/users/sign_up", status=201)
def _(accounts: Accounts) -> Request:
    return lambda: accounts.api().try_to_sign_up(accounts.address())


@row("POST /api/v1/users/{user_id}/send_code")
def _(accounts: Accounts) -> Request:
    api, user_id, _ = accounts.temporary()
    return lambda: api.ask_for_code(user_id)


@row("POST /api/v1/users/{user_id}/resend_code")
def _(accounts: Accounts) -> Request:
    api, user_id, _ = accounts.temporary()
    api.ask_for_code(user_id)
    return lambda: api.ask_again(user_id)


@row("PUT /api/v1/users/{user_id}/mail")
def _(accounts: Accounts) -> Request:
    api, user_id, email = accounts.temporary()
    api.ask_for_code(user_id)
    code = accounts.emailed(email)
    return lambda: api.confirm(user_id, code)


@row("PATCH /api/v1/users/{user_id}/sign_up", "with a password")
def _(accounts: Accounts) -> Request:
    api, user_id, email = accounts.temporary()
    api.ask_for_code(user_id)
    api.confirm(user_id, accounts.emailed(email))
    return lambda: api.finish(user_id, password=PASSWORD)


# Sign-in.


@row("POST /api/v1/users/sign_in", "known device")
def _(accounts: Accounts) -> Request:
    account = accounts.shared
    return lambda: account.api.sign_in(account.email, PASSWORD)


@row("POST /api/v1/users/sign_in", "new device, with a security notification")
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    return lambda: accounts.api(address=ANOTHER_NETWORK).sign_in(account.email, PASSWORD)


@row("POST /api/v1/users/sign_in", "wrong password", status=401)
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    return lambda: accounts.api(address=ANOTHER_NETWORK).sign_in(account.email, WRONG_PASSWORD)


@row("POST /api/v1/users/sign_in", "unknown address", status=401)
def _(accounts: Accounts) -> Request:
    return lambda: accounts.api(address=ANOTHER_NETWORK).sign_in(accounts.address(), WRONG_PASSWORD)


@row("POST /api/v1/users/sign_in/send_code")
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    return lambda: account.api.ask_to_sign_in(account.email)


@row("POST /api/v1/users/sign_in/code", "known device")
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    account.api.ask_to_sign_in(account.email)
    code = accounts.emailed(account.email)
    return lambda: account.api.sign_in_by_code(account.email, code)


@row("POST /api/v1/users/sign_in/code", "wrong code", status=401)
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    account.api.ask_to_sign_in(account.email)
    code = wrong(accounts.emailed(account.email))
    return lambda: account.api.sign_in_by_code(account.email, code)


@row("POST /api/v1/users/sign_in/code", "unknown address", status=401)
def _(accounts: Accounts) -> Request:
    return lambda: accounts.api().sign_in_by_code(accounts.address(), "000000")


@row("POST /api/v1/users/refresh_token")
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    return lambda: account.api.refresh(account.tokens["refresh_token"])


# Sessions.


@row("POST /api/v1/users/sign_out", "with the access token")
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    return lambda: account.call("POST", "/sign_out")


@row("POST /api/v1/users/sign_out", "with the refresh token")
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    body = {"refresh_token": account.tokens["refresh_token"]}
    return lambda: accounts.api(cookies=False).call("POST", "/sign_out", json=body)


@row("POST /api/v1/users/sign_out/everywhere", "two sessions")
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    account.api.signed_in(account.email, PASSWORD)
    return lambda: account.call("POST", "/sign_out/everywhere")


@row("GET /api/v1/users/me/sessions")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.shared.call("GET", "/me/sessions")


@row("DELETE /api/v1/users/me/sessions", "one other session")
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    account.api.signed_in(account.email, PASSWORD)
    return lambda: account.call("DELETE", "/me/sessions")


@row("DELETE /api/v1/users/me/sessions/{session_id}")
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    account.api.signed_in(account.email, PASSWORD)
    sessions = account.call("GET", "/me/sessions").get_json()["data"]
    [other] = [session["id"] for session in sessions if not session["current"]]
    return lambda: account.call("DELETE", f"/me/sessions/{other}")


# Passwords.


@row("POST /api/v1/users/password/send_code")
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    return lambda: account.api.ask_to_recover(account.email)


@row("PUT /api/v1/users/password")
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    account.api.ask_to_recover(account.email)
    code = accounts.emailed(account.email)
    return lambda: account.api.recover(account.email, code, OTHER_PASSWORD)


@row("PUT /api/v1/users/me/password")
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    return lambda: account.api.change_password(account.tokens["access_token"], PASSWORD, OTHER_PASSWORD)


# The account.


@row("GET /api/v1/users/me")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.shared.call("GET", "/me")


@row("PATCH /api/v1/users/me")
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    return lambda: account.call("PATCH", "/me", json={"language": "ru"})


@row("DELETE /api/v1/users/me", "with the password")
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    return lambda: account.api.leave(account.tokens["access_token"], password=PASSWORD)


@row("POST /api/v1/users/me/send_code")
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    return lambda: account.api.ask_to_leave(account.tokens["access_token"])


@row("POST /api/v1/users/me/email")
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    return lambda: account.api.ask_to_move(account.tokens["access_token"], accounts.address(), password=PASSWORD)


@row("PUT /api/v1/users/me/email")
def _(accounts: Accounts) -> Request:
    account, email = accounts.account(), accounts.address()
    account.api.ask_to_move(account.tokens["access_token"], email, password=PASSWORD)
    code = accounts.emailed(email)
    return lambda: account.api.move(account.tokens["access_token"], code)


@row("GET /api/v1/users/me/export")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.shared.call("GET", "/me/export")


@row("GET /api/v1/users/me/login_history")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.shared.call("GET", "/me/login_history")


@row("POST /api/v1/users/undo", "new device")
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    accounts.api(address=ANOTHER_NETWORK).signed_in(account.email, PASSWORD)
    token = accounts.mailbox.undo_sent_to(account.email, about="device")
    return lambda: accounts.api().undo(token)
