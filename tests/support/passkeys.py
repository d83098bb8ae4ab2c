"""A user with passkeys: registration, sign-in, second step and reauthentication with a software authenticator."""

from dataclasses import dataclass
from typing import Any

import jwt
from werkzeug.test import TestResponse

from tests.support.actors import ADA, PASSWORD, ApiClient
from tests.support.authenticator import DEVICE_BOUND, HONEST, Authenticator, Deviation

MINE = "/me/passkeys"
SIGN_IN = "/sign_in/passkey"
SECOND_STEP = "/sign_in/second_step/passkey"
REAUTHENTICATE = "/me/reauthenticate/passkey"
ORIGIN = "http://localhost:5000"


def begun(answer: TestResponse) -> dict[str, Any]:
    """Return the options and the ticket of an answer."""
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.get_json()["data"]
    assert data["expires_in"] == 300
    return data


@dataclass
class PasskeyUser:
    """A signed-in user, with bearer tokens."""

    api: ApiClient
    token: str
    email: str = ADA

    def call(self, method: str, path: str, **options: Any) -> TestResponse:
        """Send a request with the access token."""
        return self.api.with_token(self.token, method, path, **options)

    def begin(self, path: str = MINE) -> dict[str, Any]:
        """Request options of a ceremony of this session."""
        return begun(self.call("POST", f"{path}/options"))

    def try_to_register(self, authenticator: Authenticator, deviation: Deviation = HONEST, **body: Any) -> TestResponse:
        """Create a passkey, and send it."""
        data = self.begin()
        credential = authenticator.create(data["options"], deviation)
        return self.call("POST", MINE, json={"credential": credential, "ticket": data["ticket"], **body})

    def register(self, authenticator: Authenticator | None = None, **body: Any) -> tuple[Authenticator, dict[str, Any]]:
        """Add a passkey; return it and the answer."""
        authenticator = authenticator or Authenticator()
        answer = self.try_to_register(authenticator, **body)
        assert answer.status_code == 201, answer.text
        data: dict[str, Any] = answer.get_json()["data"]
        return authenticator, data

    def list(self) -> list[dict[str, Any]]:
        """Return the passkeys."""
        passkeys: list[dict[str, Any]] = self.call("GET", MINE).get_json()["data"]
        return passkeys

    def rename(self) -> None:
        """Add a passkey, and give it another name."""
        _, added = self.register()
        assert self.call("PATCH", f"{MINE}/{added['id']}", json={"name": "Laptop"}).status_code == 200

    def remove(self) -> None:
        """Add a passkey, and remove it."""
        _, added = self.register()
        assert self.call("DELETE", f"{MINE}/{added['id']}").status_code == 200

    def refuse(self) -> None:
        """Reauthenticate with a passkey that the account does not have."""
        self.register()
        assert self.reauthenticate(Authenticator(user_handle=b"h" * 32)).status_code == 401

    def copy(self) -> None:
        """Reauthenticate with a copy of a device-bound passkey, whose counter does not grow."""
        authenticator, _ = self.register(Authenticator(flags=DEVICE_BOUND, counter=5))
        assert self.reauthenticate(authenticator).status_code == 401

    def reauthenticate(self, authenticator: Authenticator, deviation: Deviation = HONEST) -> TestResponse:
        """Reauthenticate with a passkey."""
        data = self.begin(REAUTHENTICATE)
        credential = authenticator.get(data["options"], deviation)
        return self.call("POST", REAUTHENTICATE, json={"credential": credential, "ticket": data["ticket"]})


def sign_in(api: ApiClient, authenticator: Authenticator, deviation: Deviation = HONEST, **body: Any) -> TestResponse:
    """Sign in with a passkey."""
    data = begun(api.call("POST", f"{SIGN_IN}/options"))
    credential = authenticator.get(data["options"], deviation)
    return api.call("POST", SIGN_IN, json={"credential": credential, "ticket": data["ticket"], **body})


def signed_in(api: ApiClient, authenticator: Authenticator, email: str = ADA) -> PasskeyUser:
    """Sign in with a passkey; return the user."""
    answer = sign_in(api, authenticator)
    assert answer.status_code == 200, answer.text
    return PasskeyUser(api, answer.get_json()["data"]["access_token"], email)


def by_password(api: ApiClient, email: str = ADA) -> PasskeyUser:
    """Sign in with the password; return the user."""
    return PasskeyUser(api, api.signed_in(email, PASSWORD)["access_token"], email)


def claims(token: str) -> dict[str, Any]:
    """Return the claims of an access token."""
    decoded: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return decoded
