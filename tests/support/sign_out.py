"""Sign-out: a session with all its tokens, a browser with cookies, and what an answer does to them."""

from collections.abc import Callable
from dataclasses import dataclass

from flask import Flask
from werkzeug.test import TestResponse

from tests.support.actors import PASSWORD, ApiClient, refusal
from tests.support.stores import Query

OWN = {"Origin": "http://127.0.0.1:5000", "X-Requested-With": "portal"}
PATHS = ["/sign_out", "/sign_out/everywhere"]
ENDED = {"/sign_out": "signed_out", "/sign_out/everywhere": "ended_by_owner"}

GARBAGE = "garbage"
"""In place of a token."""


@dataclass
class Session:
    """A session of Ada, with an access token that has expired."""

    access: str
    expired: str
    refresh: str


def browser(app: Flask, **cookies: str) -> ApiClient:
    """A browser with these cookies."""
    client = ApiClient(app)
    for name, value in cookies.items():
        client.client.set_cookie(name, value, domain="localhost", secure=True)
    return client


def deleted_cookies(answer: TestResponse) -> set[str]:
    """The names of the cookies that an answer deletes."""
    cookies = answer.headers.getlist("Set-Cookie")
    assert all("Max-Age=0" in cookie for cookie in cookies), cookies
    return {cookie.partition("=")[0] for cookie in cookies}


def failed(answer: TestResponse) -> tuple[int, str]:
    """Status and code of an error."""
    return answer.status_code, refusal(answer)["code"]


def revoked(api: ApiClient, session: Session, query: Query) -> None:
    assert api.with_token(session.access, "POST", "/sign_out").status_code == 200


def idle(api: ApiClient, session: Session, query: Query) -> None:
    query("UPDATE sessions SET idle_at = now()")


def expired(api: ApiClient, session: Session, query: Query) -> None:
    query("UPDATE sessions SET expires_at = now(), idle_at = now()")


def reused(api: ApiClient, session: Session, query: Query) -> None:
    api.refresh(api.refresh(session.refresh).get_json()["data"]["refresh_token"])


def deleted(api: ApiClient, session: Session, query: Query) -> None:
    assert api.leave(session.access, password=PASSWORD).status_code == 200


def malformed(api: ApiClient, session: Session, query: Query) -> None:
    session.refresh = session.refresh[:-4] + "AAAA"


DEAD: list[Callable[[ApiClient, Session, Query], None]] = [revoked, idle, expired, reused, deleted, malformed]
