"""Prepared requests: users at each step of registration and sign-in, and checks of error responses."""

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

from tests.faults.account_client import AccountClient, TokenPair
from tests.faults.client import RegistrationClient, Response, expect_success
from tests.faults.service import Service

MAX_ERROR_SECONDS = 2.0
"""Seconds within which an error must arrive during a fault."""

Requests = Mapping[str, Callable[[], Response]]


@dataclass(frozen=True, kw_only=True, slots=True)
class RegistrationRequests:
    """Clients at each step of the registration."""

    anonymous: RegistrationClient
    temporary: RegistrationClient
    confirming: RegistrationClient
    code: str
    """The code that was emailed to `confirming`."""
    resending: RegistrationClient
    confirmed: RegistrationClient

    @classmethod
    def prepared(cls, service: Service) -> Self:
        temporary = service.registration_client("temporary")
        expect_success(temporary.sign_up)
        confirming, code = service.client_with_code("confirming")
        resending, _ = service.client_with_code("resending")
        return cls(
            anonymous=service.registration_client("anonymous"),
            temporary=temporary,
            confirming=confirming,
            code=code,
            resending=resending,
            confirmed=service.confirmed_client("confirmed"),
        )

    @property
    def wrong_code(self) -> str:
        return f"{(int(self.code) + 1) % 10**6:06}"

    @property
    def requests(self) -> Requests:
        """The six requests of a registration; the submitted code is wrong."""
        return {
            "look_up": self.anonymous.look_up,
            "sign_up": self.anonymous.sign_up,
            "send_code": self.temporary.send_code,
            "confirm_email": lambda: self.confirming.confirm_email(self.wrong_code),
            "resend_code": self.resending.resend_code,
            "finish": self.confirmed.finish,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedInRequests:
    """A user with two sessions, a sign-in code and a code for a password reset."""

    client: AccountClient
    password: str
    kept: TokenPair
    signed_out: TokenPair
    """The tokens of the session that `sign_out` revokes."""
    sign_in_code: str
    recovery_code: str

    @classmethod
    def prepared(cls, service: Service) -> Self:
        password = "correct horse battery"
        client = service.account_client("signed-in", password=password)
        kept, signed_out = (sign_in_with_password(client, password) for _ in range(2))
        expect_success(client.send_sign_in_code)
        expect_success(client.send_reset_code)
        return cls(
            client=client,
            password=password,
            kept=kept,
            signed_out=signed_out,
            sign_in_code=service.newest_code(client, "sign_in_code"),
            recovery_code=service.newest_code(client, "recovery_code"),
        )

    @property
    def without_redis(self) -> Requests:
        """Requests that only need PostgreSQL."""
        return {
            "sign_in": lambda: self.client.sign_in(self.password),
            "me": lambda: self.client.me(self.kept.access),
            "refresh": lambda: self.client.refresh(self.kept.refresh),
            "sign_out": lambda: self.client.sign_out(self.signed_out.access),
        }

    @property
    def by_codes(self) -> Requests:
        """Requests that also need Redis."""
        return {
            "send_sign_in_code": self.client.send_sign_in_code,
            "sign_in_by_code": lambda: self.client.sign_in_by_code(self.sign_in_code),
            "send_reset_code": self.client.send_reset_code,
            "reset_password": lambda: self.client.reset_password(self.recovery_code, f"{self.password} staple"),
        }


def sign_in_with_password(client: AccountClient, password: str) -> TokenPair:
    """Sign in; returns the tokens."""
    pair = TokenPair.of(expect_success(lambda: client.sign_in(password)))
    assert pair is not None
    return pair


def concurrently(requests: Requests) -> dict[str, Response]:
    """Send all requests at the same moment; returns their responses."""
    with ThreadPoolExecutor(len(requests)) as pool:
        futures = {name: pool.submit(request) for name, request in requests.items()}
        return {name: future.result() for name, future in futures.items()}


def repeatedly(requests: Requests, *, seconds: float) -> list[tuple[str, Response]]:
    """Send the requests one after the other for some time; returns the responses."""
    end = time.monotonic() + seconds
    responses: list[tuple[str, Response]] = []
    while time.monotonic() < end:
        responses += [(name, request()) for name, request in requests.items()]
    return responses


def contract_violations(responses: Mapping[str, Response], *, code: str) -> list[str]:
    """Deviations of responses from the error `code` with the schema and the time limit of the contract."""
    violations: list[str] = []
    for name, response in responses.items():
        error = response.json.get("error", {})
        if (response.status, error.get("code")) != (503, code):
            violations.append(f"{name}: {response.status} {response.body!r}")
        elif response.json != {"success": False, "result": None, "error": error} or not error.get("msg"):
            violations.append(f"{name}: not the schema of an error: {response.body!r}")
        elif response.headers.get("content-type") != "application/json" or not response.headers.get("x-request-id"):
            violations.append(f"{name}: headers {dict(response.headers)}")
        elif int(response.headers.get("retry-after", 0)) < 1 or error.get("retry_after") is None:
            violations.append(f"{name}: no retry_after: {response.body!r}")
        if response.seconds > MAX_ERROR_SECONDS:
            violations.append(f"{name}: after {response.seconds:.2f} s")
    return violations


def p99(responses: list[Response]) -> float:
    """The 99th percentile of the response times, in seconds."""
    ordered = sorted(response.seconds for response in responses)
    return ordered[min(len(ordered) - 1, math.ceil(len(ordered) * 0.99) - 1)]


def slowest(responses: list[tuple[str, Response]]) -> float:
    return max(response.seconds for _, response in responses)
