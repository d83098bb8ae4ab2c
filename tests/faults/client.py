"""HTTP client of the fault tests: one connection per request; records each response and its time."""

import http.client
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

RETRY_SECONDS = 10.0
"""Seconds for which a client repeats a request that gets 503."""
USERS = "/api/v1/users"
TICKET = "__Host-registration"
CLIENT_TIMEOUT = 15.0
"""Seconds; longer than any time limit of the service."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """A complete HTTP response."""

    status: int
    headers: Mapping[str, str]
    """Names are in lower case."""
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The `error.code` of an error."""
        code: str | None = self.json.get("error", {}).get("code")
        return code


class NoResponse(Exception):
    """No response, or an incomplete one: `cause` is refused, closed or timeout."""

    def __init__(self, cause: str, *, seconds: float) -> None:
        super().__init__(f"{cause} after {seconds:.3f} s")
        self.cause = cause
        self.seconds = seconds


def send_request(
    port: int,
    method: str,
    path: str,
    *,
    body: object = None,
    cookies: Mapping[str, str] | None = None,
    token: str | None = None,
) -> Response:
    """Send one request to 127.0.0.1, with the access token `token` if there is one. Raises NoResponse."""
    headers = {"Connection": "close"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    if cookies:
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=CLIENT_TIMEOUT)
    began = time.monotonic()
    try:
        connection.request(method, path, body=None if body is None else json.dumps(body), headers=headers)
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise NoResponse(_cause_of(error), seconds=time.monotonic() - began) from None
    finally:
        connection.close()
    return Response(
        status=response.status,
        headers={name.lower(): value for name, value in response.getheaders()},
        body=content,
        seconds=time.monotonic() - began,
    )


def _cause_of(error: Exception) -> str:
    match error:
        case ConnectionRefusedError():
            return "refused"
        case TimeoutError():
            return "timeout"
    return "closed"


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedRequest:
    """One request of one user and its response, as the ledger stores it."""

    step: str
    email: str
    """Identifies the user: the address of the registration, even after a change of address."""
    response: Response | None
    """None if no complete response arrived."""
    seconds: float
    credential: str | None = None
    """The code, password or refresh token of the request."""
    new_password: str | None = None
    """The password that the request sets."""
    token: str | None = None
    """The access token of the request."""
    ticket: str | None = None
    """The flow ticket of the registration in the request."""
    to: str | None = None
    """The address that the request is about, if it differs from `email`."""
    at: float
    """When the request was sent, in monotonic seconds."""

    @property
    def acknowledged(self) -> bool:
        return self.response is not None and self.response.status < 300

    @property
    def address(self) -> str:
        """The address that the request is about, to which its email goes."""
        return self.to or self.email

    @property
    def uncertain(self) -> bool:
        """Whether the response does not show if the request took effect."""
        return self.response is None or self.response.status >= 500

    @property
    def answered_at(self) -> float:
        """When the response was complete, in monotonic seconds."""
        return self.at + self.seconds


class RegistrationClient:
    """The client of a user who registers: the address and the cookies that the service set."""

    def __init__(self, port: int, email: str, *, record: Callable[[RecordedRequest], None] | None = None) -> None:
        """`record` is called with every request."""
        self.port = port
        self.registered_email = email
        self.email = email
        self.user_id = 0
        self.cookies: dict[str, str] = {}
        self._record = record

    @property
    def ticket(self) -> str | None:
        """The flow ticket of the registration."""
        return self.cookies.get(TICKET)

    def look_up(self) -> Response:
        response = self._call("look_up", "GET", f"?email={quote(self.email)}")
        if response.status == 200:
            self.user_id = response.json["data"]["id"]
        return response

    def sign_up(self) -> Response:
        response = self._call("sign_up", "POST", "/sign_up", body={"email": self.email})
        if response.status == 201:
            self.user_id = response.json["data"]["id"]
        return response

    def send_code(self) -> Response:
        return self._call("send_code", "POST", f"/{self.user_id}/send_code")

    def confirm_email(self, code: str) -> Response:
        return self._call("confirm_email", "PUT", f"/{self.user_id}/mail?code={code}", credential=code)

    def resend_code(self) -> Response:
        return self._call("resend_code", "POST", f"/{self.user_id}/resend_code")

    def finish(self, password: str | None = None) -> Response:
        body = None if password is None else {"password": password}
        return self._call("finish", "PATCH", f"/{self.user_id}/sign_up", body=body, new_password=password)

    def _call(
        self,
        step: str,
        method: str,
        path: str,
        *,
        body: object = None,
        token: str | None = None,
        credential: str | None = None,
        new_password: str | None = None,
        to: str | None = None,
    ) -> Response:
        at = time.monotonic()
        ticket = self.ticket
        response: Response | None = None
        try:
            response = send_request(self.port, method, USERS + path, body=body, cookies=self.cookies, token=token)
            self._keep_cookie(response)
            return response
        finally:
            if self._record is not None:
                entry = RecordedRequest(
                    step=step,
                    email=self.registered_email,
                    to=to or self.email,
                    response=response,
                    seconds=time.monotonic() - at,
                    credential=credential,
                    new_password=new_password,
                    token=token,
                    ticket=ticket,
                    at=at,
                )
                self._record(entry)

    def _keep_cookie(self, response: Response) -> None:
        name, _, value = response.headers.get("set-cookie", "").partition("=")
        if value:
            self.cookies[name] = value.partition(";")[0]


def retry_unavailable(request: Callable[[], Response]) -> Response:
    """The first response that is not 503; waits less than Retry-After to keep the tests short."""
    give_up_at = time.monotonic() + RETRY_SECONDS
    while (response := request()).status == 503 and time.monotonic() < give_up_at:
        time.sleep(0.05)
    return response


def expect_success(request: Callable[[], Response]) -> Response:
    """The response after retries of 503; fails unless it is a success."""
    response = retry_unavailable(request)
    assert response.status < 300, f"{response.status} {response.body!r}"
    return response
