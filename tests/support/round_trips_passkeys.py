"""Round trips: the requests of passkeys, for the table of `round_trips_table.py`."""

from typing import Any

from tests.support.accounts import Accounts
from tests.support.authenticator import Authenticator, Deviation
from tests.support.passkeys import MINE, REAUTHENTICATE, SECOND_STEP, SIGN_IN, PasskeyUser, begun
from tests.support.round_trips_cases import Request, row
from tests.support.round_trips_second_factor import CASES
from tests.support.second_factor import enrolled

__all__ = ["CASES"]

USERS = "/api/v1/users"
HOST = "portal.example.org"


def user_of(accounts: Accounts) -> PasskeyUser:
    """A new account."""
    account = accounts.account()
    return PasskeyUser(account.api, account.tokens["access_token"], account.email)


def authenticator() -> Authenticator:
    """An authenticator for the origin of the measured application."""
    return Authenticator(rp_id=HOST, origin=f"https://{HOST}")


def with_passkey(accounts: Accounts) -> tuple[PasskeyUser, Authenticator, dict[str, Any]]:
    """A new account with a passkey."""
    user = user_of(accounts)
    return user, *user.register(authenticator())


@row(f"POST {USERS}{MINE}/options", "first passkey")
def _(accounts: Accounts) -> Request:
    user = user_of(accounts)
    return lambda: user.call("POST", f"{MINE}/options")


@row(f"POST {USERS}{MINE}", status=201)
def _(accounts: Accounts) -> Request:
    user = user_of(accounts)
    data = user.begin()
    body = {"credential": authenticator().create(data["options"]), "ticket": data["ticket"]}
    return lambda: user.call("POST", MINE, json=body)


@row(f"GET {USERS}{MINE}")
def _(accounts: Accounts) -> Request:
    account = accounts.shared
    return lambda: account.call("GET", MINE)


@row(f"PATCH {USERS}{MINE}/{{passkey_id}}")
def _(accounts: Accounts) -> Request:
    user, _, added = with_passkey(accounts)
    return lambda: user.call("PATCH", f"{MINE}/{added['id']}", json={"name": "Laptop"})


@row(f"DELETE {USERS}{MINE}/{{passkey_id}}")
def _(accounts: Accounts) -> Request:
    user, _, added = with_passkey(accounts)
    return lambda: user.call("DELETE", f"{MINE}/{added['id']}")


@row(f"POST {USERS}{SIGN_IN}/options")
def _(accounts: Accounts) -> Request:
    api = accounts.api()
    return lambda: api.call("POST", f"{SIGN_IN}/options")


def sign_in(accounts: Accounts, deviation: Deviation) -> Request:
    """A sign-in with a passkey."""
    user, passkey, _ = with_passkey(accounts)
    data = begun(user.api.call("POST", f"{SIGN_IN}/options"))
    body = {"credential": passkey.get(data["options"], deviation), "ticket": data["ticket"]}
    return lambda: user.api.call("POST", SIGN_IN, json=body)


@row(f"POST {USERS}{SIGN_IN}")
def _(accounts: Accounts) -> Request:
    return sign_in(accounts, Deviation())


@row(f"POST {USERS}{SIGN_IN}", "rejected", status=401)
def _(accounts: Accounts) -> Request:
    return sign_in(accounts, Deviation(origin="https://evil.example"))


@row(f"POST {USERS}{REAUTHENTICATE}/options")
def _(accounts: Accounts) -> Request:
    account = accounts.shared
    return lambda: account.call("POST", f"{REAUTHENTICATE}/options")


@row(f"POST {USERS}{REAUTHENTICATE}")
def _(accounts: Accounts) -> Request:
    user, passkey, _ = with_passkey(accounts)
    data = user.begin(REAUTHENTICATE)
    body = {"credential": passkey.get(data["options"]), "ticket": data["ticket"]}
    return lambda: user.call("POST", REAUTHENTICATE, json=body)


def first_step(accounts: Accounts) -> tuple[PasskeyUser, Authenticator, str]:
    """An account with TOTP and a passkey, after the first step of a sign-in."""
    user, passkey, _ = with_passkey(accounts)
    return user, passkey, enrolled(user.api, user.email, token=user.token).ticket()


@row(f"POST {USERS}{SECOND_STEP}/options")
def _(accounts: Accounts) -> Request:
    user, _, ticket = first_step(accounts)
    return lambda: user.api.call("POST", f"{SECOND_STEP}/options", json={"ticket": ticket})


@row(f"POST {USERS}{SECOND_STEP}")
def _(accounts: Accounts) -> Request:
    user, passkey, ticket = first_step(accounts)
    data = begun(user.api.call("POST", f"{SECOND_STEP}/options", json={"ticket": ticket}))
    body = {"credential": passkey.get(data["options"]), "ticket": data["ticket"]}
    return lambda: user.api.call("POST", SECOND_STEP, json=body)


@row("GET /.well-known/passkey-endpoints", "without a front end", status=404)
def _(accounts: Accounts) -> Request:
    return lambda: accounts.get("/.well-known/passkey-endpoints")


@row("GET /.well-known/change-password", "without a front end", status=404)
def _(accounts: Accounts) -> Request:
    return lambda: accounts.get("/.well-known/change-password")


@row("GET /.well-known/webauthn", "without related origins", status=404)
def _(accounts: Accounts) -> Request:
    return lambda: accounts.get("/.well-known/webauthn")
