"""Second factors in tests: a user with an authenticator app, and the two steps of a sign-in."""

import time
from dataclasses import dataclass, field
from typing import Any

import pyotp
from werkzeug.test import TestResponse

from tests.support.actors import PASSWORD, ApiClient, refusal
from tests.support.stores import Query

TOTP, CODES, STEP = "/me/second_factor/totp", "/me/second_factor/recovery_codes", "/sign_in/second_step"
PERIOD = 30


@dataclass
class ProtectedUser:
    """A user with TOTP: the client, the app, the recovery codes, and the tokens of the newest session."""

    api: ApiClient
    email: str
    app: pyotp.TOTP
    query: Query | None = None
    recovery_codes: list[str] = field(default_factory=list)
    access_token: str = ""

    def code(self, steps: int = 0) -> str:
        """The code of the app, some time steps from now. The database of the tests has the clock of this machine."""
        return self.app.at(time.time() + steps * PERIOD)

    def next_code(self) -> str:
        """The code of the next time step, which is accepted too; unused after the current one was used."""
        return self.code(1)

    def unused_code(self) -> str:
        """The current code, as if no code was used before."""
        assert self.query is not None
        self.query("UPDATE second_factors SET last_step = 0 RETURNING 1")
        return self.code()

    def wrong_code(self) -> str:
        """A code of no accepted time step."""
        near = {self.code(steps) for steps in range(-3, 4)}
        return next(code for code in ("000000", "111111", "222222", "333333") if code not in near)

    def first_step(self, **more: Any) -> TestResponse:
        """Sign in with the password."""
        return self.api.sign_in(self.email, PASSWORD, **more)

    def ticket(self) -> str:
        """The ticket of a new first step."""
        answer = self.first_step()
        assert answer.status_code == 401, answer.text
        error = refusal(answer)
        assert error["code"] == "second_factor_required"
        ticket: str = error["ticket"]
        return ticket

    def second_step(self, ticket: str, **body: Any) -> TestResponse:
        """Send the second step."""
        return self.api.call("POST", STEP, json={"ticket": ticket, **body})

    def signed_in(self) -> dict[str, Any]:
        """Sign in with both steps; returns the tokens."""
        answer = self.second_step(self.ticket(), totp=self.unused_code())
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.get_json()["data"]
        self.access_token = tokens["access_token"]
        return tokens

    def call(self, method: str, path: str, **options: Any) -> TestResponse:
        """A request with the access token of the newest session."""
        return self.api.with_token(self.access_token, method, path, **options)

    def reauthenticate(self, **body: Any) -> TestResponse:
        """Reauthenticate; keeps the new access token."""
        answer = self.call("POST", "/me/reauthenticate", json=body)
        if answer.status_code == 200:
            self.access_token = answer.get_json()["data"]["access_token"]
        return answer


def begin(api: ApiClient, token: str) -> dict[str, Any]:
    """Begin an enrolment; returns the secret, the URI and the QR code."""
    answer = api.with_token(token, "POST", TOTP)
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.get_json()["data"]
    return data


def app_of(data: dict[str, Any]) -> pyotp.TOTP:
    """The authenticator app that has read the URI of an enrolment."""
    app = pyotp.parse_uri(data["otpauth_uri"])
    assert isinstance(app, pyotp.TOTP)
    return app


def enrolled(api: ApiClient, email: str, query: Query | None = None, *, token: str | None = None) -> ProtectedUser:
    """Enable TOTP for a user who can sign in with the password."""
    token = token or api.signed_in(email, PASSWORD)["access_token"]
    app = app_of(begin(api, token))
    answer = api.with_token(token, "PUT", TOTP, json={"totp": app.now()})
    assert answer.status_code == 200, answer.text
    data = answer.get_json()["data"]
    return ProtectedUser(
        api=api,
        email=email,
        app=app,
        query=query,
        recovery_codes=data["recovery_codes"],
        access_token=data["access_token"],
    )
