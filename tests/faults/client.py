"""People who call the service over the network, one connection a request, and note what they were told and how soon."""

import http.client
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

PERSISTENCE = 10.0
"""Seconds for which a user repeats a request that was answered by 503."""
USERS = "/api/v1/users"
TICKET = "__Host-registration"
PATIENCE = 15.0
"""Seconds after which a caller gives up: longer than anything that the service promises."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """By their names in lower case."""
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The `error.code` of a refusal."""
        found: str | None = self.json.get("error", {}).get("code")
        return found


class Unanswered(Exception):
    """Nothing, or half an answer, came back: `why` is refused, cut or late."""

    def __init__(self, why: str, *, seconds: float) -> None:
        super().__init__(f"{why} after {seconds:.3f} s")
        self.why = why
        self.seconds = seconds


def ask(
    port: int,
    method: str,
    path: str,
    *,
    body: object = None,
    cookies: Mapping[str, str] | None = None,
    token: str | None = None,
) -> Answer:
    """One request to 127.0.0.1; `token` is an access token that speaks for the caller. Raises Unanswered."""
    headers = {"Connection": "close"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    if cookies:
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    began = time.monotonic()
    try:
        connection.request(method, path, body=None if body is None else json.dumps(body), headers=headers)
        response = connection.getresponse()
        read = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise Unanswered(_why(error), seconds=time.monotonic() - began) from None
    finally:
        connection.close()
    return Answer(
        status=response.status,
        headers={name.lower(): value for name, value in response.getheaders()},
        body=read,
        seconds=time.monotonic() - began,
    )


def _why(error: Exception) -> str:
    match error:
        case ConnectionRefusedError():
            return "refused"
        case TimeoutError():
            return "late"
    return "cut"


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEntry:
    """One request of one person, as the ledger keeps it."""

    step: str
    email: str
    """The user: the address of the registration, whatever address the account has by now."""
    answer: Answer | None
    """None where nothing came back."""
    seconds: float
    credential: str | None = None
    """The code, password or refresh token of the request."""
    chosen: str | None = None
    """The password that it asked for besides."""
    token: str | None = None
    """The access token that spoke for it."""
    ticket: str | None = None
    """The ticket of a registration that the request came with."""
    to: str | None = None
    """The address that it is about, if that is another one."""
    at: float
    """When it was sent, in monotonic seconds."""

    @property
    def good(self) -> bool:
        return self.answer is not None and self.answer.status < 300

    @property
    def address(self) -> str:
        """The address that it is about, and that a letter goes to."""
        return self.to or self.email

    @property
    def uncertain(self) -> bool:
        """Whether nobody told what became of it: it may have been done, or not."""
        return self.answer is None or self.answer.status >= 500

    @property
    def answered_at(self) -> float:
        """When its answer was there, in monotonic seconds."""
        return self.at + self.seconds


class CurrentUser:
    """A user who registers, with an address, and the cookies that the service handed out."""

    def __init__(self, port: int, email: str, *, note: Callable[[AuditEntry], None] | None = None) -> None:
        """`note` is told of every request."""
        self.port = port
        self.began_with = email
        self.email = email
        self.user_id = 0
        self.cookies: dict[str, str] = {}
        self._note = note

    @property
    def ticket(self) -> str | None:
        """What the service handed out for the registration."""
        return self.cookies.get(TICKET)

    def look_up(self) -> Answer:
        answer = self._call("look_up", "GET", f"?email={quote(self.email)}")
        if answer.status == 200:
            self.user_id = answer.json["data"]["id"]
        return answer

    def sign_up(self) -> Answer:
        answer = self._call("sign_up", "POST", "/sign_up", body={"email": self.email})
        if answer.status == 201:
            self.user_id = answer.json["data"]["id"]
        return answer

    def send_code(self) -> Answer:
        return self._call("send_code", "POST", f"/{self.user_id}/send_code")

    def mail(self, code: str) -> Answer:
        return self._call("mail", "PUT", f"/{self.user_id}/mail?code={code}", credential=code)

    def resend_code(self) -> Answer:
        return self._call("resend_code", "POST", f"/{self.user_id}/resend_code")

    def finish(self, password: str | None = None) -> Answer:
        body = None if password is None else {"password": password}
        return self._call("finish", "PATCH", f"/{self.user_id}/sign_up", body=body, chosen=password)

    def _call(
        self,
        step: str,
        method: str,
        path: str,
        *,
        body: object = None,
        token: str | None = None,
        credential: str | None = None,
        chosen: str | None = None,
        to: str | None = None,
    ) -> Answer:
        at = time.monotonic()
        ticket = self.ticket
        answer: Answer | None = None
        try:
            answer = ask(self.port, method, USERS + path, body=body, cookies=self.cookies, token=token)
            self._keep_cookie(answer)
            return answer
        finally:
            if self._note is not None:
                entry = AuditEntry(
                    step=step,
                    email=self.began_with,
                    to=to or self.email,
                    answer=answer,
                    seconds=time.monotonic() - at,
                    credential=credential,
                    chosen=chosen,
                    token=token,
                    ticket=ticket,
                    at=at,
                )
                self._note(entry)

    def _keep_cookie(self, answer: Answer) -> None:
        name, _, value = answer.headers.get("set-cookie", "").partition("=")
        if value:
            self.cookies[name] = value.partition(";")[0]


def persist(request: Callable[[], Answer]) -> Answer:
    """The first answer that is no 503, as a client gets it that heeds Retry-After (but a shorter one)."""
    until = time.monotonic() + PERSISTENCE
    while (answer := request()).status == 503 and time.monotonic() < until:
        time.sleep(0.05)
    return answer


def good(request: Callable[[], Answer]) -> Answer:
    """The answer of a user who persists, which has to be a success."""
    answer = persist(request)
    assert answer.status < 300, f"{answer.status} {answer.body!r}"
    return answer
