"""The people of the bench who have an account: they sign in, ask who they are, and stay signed in."""

import itertools
import json
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import psycopg2

from auth_service.adapters.crypto.password_hasher import PasswordHasher
from auth_service.adapters.crypto.refresh_tokens import RefreshTokens
from tests.bench.load import Answer, Crowd, Request, UserRecord, request
from tests.bench.registration_requests import USERS, cookie_of
from tests.bench.testbed import ROOT, Server, Stage

PASSWORD = "correct horse battery"
SESSIONS = 1_000
MEMBERS_AT_DOOR = 64

MEMBERS = """
UPDATE users SET password_hash = %(password_hash)s WHERE id IN (
  SELECT id FROM users WHERE verified_mail ORDER BY id LIMIT %(members)s);
INSERT INTO sessions (id, user_id, counter, method, transport, device, address, idle_at, expires_at)
SELECT gen_random_uuid(), id, 0, 'password', 'bearer', 'Firefox 143 on Linux', '127.0.0.1',
  now() + interval '7 days', now() + interval '30 days' FROM users WHERE verified_mail;
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Members:
    """Accounts with one password, and tokens of their sessions."""

    emails: Sequence[str]
    access_tokens: Sequence[str]
    refresh_tokens: Sequence[str]
    """Of other sessions than the access tokens."""


def members(stage: Stage, server: Server, database_url: str) -> Members:
    """Give passwords and sessions to the users of a database that `server` serves."""
    with closing(psycopg2.connect(database_url.replace("+psycopg2", ""))) as connection, connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        password_hash = PasswordHasher(at_once=1).hash(PASSWORD)
        cursor.execute(MEMBERS, {"password_hash": password_hash, "members": MEMBERS_AT_DOOR})
        cursor.execute("SELECT email FROM users WHERE password_hash IS NOT NULL")
        emails = [email for (email,) in cursor.fetchall()]
        cursor.execute("SELECT id FROM sessions ORDER BY id LIMIT %s", (2 * SESSIONS,))
        sessions = [uuid.UUID(session) for (session,) in cursor.fetchall()]
        connection.commit()
        connection.autocommit = True
        cursor.execute("VACUUM ANALYZE users, sessions")
    makes = RefreshTokens(stage.secrets["SESSION_KEY"])
    tokens = [makes.make(session_id=session, counter=0) for session in sessions]
    half = len(tokens) // 2
    return Members(emails=emails, refresh_tokens=tokens[:half], access_tokens=_exchanged(server, tokens[half:]))


def _exchanged(server: Server, refresh_tokens: Sequence[str]) -> list[str]:
    waiting, access_tokens = iter(refresh_tokens), []

    def user() -> UserRecord:
        for token in waiting:
            answer = yield _refresh(token)
            assert isinstance(answer, Answer)
            access_tokens.append(json.loads(answer.body)["data"]["access_token"])
        while True:  # everything has been exchanged
            yield request("GET", "/health/live", expects=200)

    crowd = Crowd(port=server.port, make_person=user, connections=4)
    give_up_at = time.monotonic() + 60
    while len(access_tokens) < len(refresh_tokens) and time.monotonic() < give_up_at:
        crowd.use(seconds=0.5)
    return access_tokens


def asking_for(path: str, found: Members) -> Callable[[], UserRecord]:
    """A user who is signed in and asks for something, each time with the token of another user."""
    requests = [
        request("GET", path, expects=200, headers=[f"Authorization: Bearer {token}"]) for token in found.access_tokens
    ]

    def user() -> UserRecord:
        while True:
            yield random.choice(requests)

    return user


def introspecting(stage: Stage, database_url: str, found: Members) -> Callable[[], UserRecord]:
    """A service that is shown one token after the other."""
    made = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "service-keys", "create", "bench", "--scope", "tokens:introspect"],
        env=stage.environment(database_url),
        cwd=stage.engines.data_dir,
        check=True,
        capture_output=True,
        text=True,
    )
    key = made.stdout.strip()
    head = [
        "POST /api/v1/tokens/introspect HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {key}",
        "Content-Type: application/x-www-form-urlencoded",
    ]
    bodies = [f"token={token}" for token in found.access_tokens]
    requests = [
        Request("\r\n".join([*head, f"Content-Length: {len(body)}", "", body]).encode(), 200) for body in bodies
    ]

    def user() -> UserRecord:
        while True:
            yield random.choice(requests)

    return user


def refreshing(found: Members) -> Callable[[], UserRecord]:
    """A user who exchanges one refresh token after the other, of one session."""
    tokens = dict(enumerate(found.refresh_tokens))
    numbers = itertools.cycle(tokens)

    def user() -> UserRecord:
        number = next(numbers)
        while True:
            answer = yield _refresh(tokens[number])
            assert isinstance(answer, Answer)
            tokens[number] = json.loads(answer.body)["data"]["refresh_token"]

    return user


def signing_in(found: Members) -> Callable[[], UserRecord]:
    """A user who signs in again and again from one device, which the account knows after the first time.

    After an answer that says when to retry it retries at once.
    """
    emails = itertools.cycle(found.emails)
    devices: dict[str, list[str]] = {}

    def user() -> UserRecord:
        email = next(emails)
        body = json.dumps({"email": email, "password": PASSWORD})
        while True:
            answer = yield request(
                "POST",
                f"{USERS}/sign_in",
                body=body,
                headers=devices.get(email, []),
                expects=200,
                may_be_sent_away=True,
            )
            if isinstance(answer, Answer) and answer.status == 200:
                devices[email] = [f"Cookie: {cookie_of(answer)}"]

    return user


def _refresh(token: str) -> Request:
    return request("POST", f"{USERS}/refresh_token", body=json.dumps({"refresh_token": token}), expects=200)
