"""Benchmark requests with an account: sign-in, current user, introspection and refresh token rotation."""

import itertools
import json
import random
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import psycopg2

from auth_service.adapters.crypto.password_hasher import PasswordHasher
from auth_service.adapters.crypto.refresh_tokens import RefreshTokens
from tests.bench.load import LoadClient, Request, Response, VirtualUser, request
from tests.bench.registration_requests import USERS, cookie_of
from tests.bench.testbed import Server, Testbed

PASSWORD = "correct horse battery"
SESSIONS = 1_000
ACCOUNTS_WITH_PASSWORD = 64

PREPARE_ACCOUNTS = """
UPDATE users SET password_hash = %(password_hash)s WHERE id IN (
  SELECT id FROM users WHERE verified_mail ORDER BY id LIMIT %(accounts)s);
INSERT INTO sessions (id, user_id, counter, method, transport, device, address, idle_at, expires_at)
SELECT gen_random_uuid(), id, 0, 'password', 'bearer', 'Firefox 143 on Linux', '127.0.0.1',
  now() + interval '7 days', now() + interval '30 days' FROM users WHERE verified_mail;
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Accounts:
    """Accounts with the same password, and tokens of sessions."""

    emails: Sequence[str]
    access_tokens: Sequence[str]
    refresh_tokens: Sequence[str]
    """Their sessions are not those of the access tokens."""


def prepare_accounts(testbed: Testbed, server: Server, database_url: str) -> Accounts:
    """Add passwords and sessions to the users in the database of `server`."""
    with closing(psycopg2.connect(database_url.replace("+psycopg2", ""))) as connection, connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        password_hash = PasswordHasher(concurrent=1).hash(PASSWORD)
        cursor.execute(PREPARE_ACCOUNTS, {"password_hash": password_hash, "accounts": ACCOUNTS_WITH_PASSWORD})
        cursor.execute("SELECT email FROM users WHERE password_hash IS NOT NULL")
        emails = [email for (email,) in cursor.fetchall()]
        cursor.execute("SELECT id FROM sessions ORDER BY id LIMIT %s", (2 * SESSIONS,))
        sessions = [uuid.UUID(session) for (session,) in cursor.fetchall()]
        connection.commit()
        connection.autocommit = True
        cursor.execute("VACUUM ANALYZE users, sessions")
    refresh_tokens = RefreshTokens(testbed.secrets["SESSION_KEY"])
    tokens = [refresh_tokens.make(session_id=session, counter=0) for session in sessions]
    half = len(tokens) // 2
    return Accounts(
        emails=emails, refresh_tokens=tokens[:half], access_tokens=_access_tokens_for(server, tokens[half:])
    )


def _access_tokens_for(server: Server, refresh_tokens: Sequence[str]) -> list[str]:
    remaining, access_tokens = iter(refresh_tokens), []

    def user() -> VirtualUser:
        for token in remaining:
            response = yield _refresh(token)
            assert isinstance(response, Response)
            access_tokens.append(json.loads(response.body)["data"]["access_token"])
        while True:  # all tokens have been exchanged
            yield request("GET", "/health/live", expects=200)

    client = LoadClient(port=server.port, new_user=user, connections=4)
    give_up_at = time.monotonic() + 60
    while len(access_tokens) < len(refresh_tokens) and time.monotonic() < give_up_at:
        client.use(seconds=0.5)
    return access_tokens


def requests_with_tokens(path: str, accounts: Accounts) -> Callable[[], VirtualUser]:
    """Users who repeat one GET, each time with a random access token."""
    requests = [
        request("GET", path, expects=200, headers=[f"Authorization: Bearer {token}"])
        for token in accounts.access_tokens
    ]

    def user() -> VirtualUser:
        while True:
            yield random.choice(requests)

    return user


def introspections(testbed: Testbed, database_url: str, accounts: Accounts) -> Callable[[], VirtualUser]:
    """A service that introspects random access tokens."""
    key = testbed.service_key(database_url, "bench", "tokens:introspect")
    head = [
        "POST /api/v1/tokens/introspect HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {key}",
        "Content-Type: application/x-www-form-urlencoded",
    ]
    bodies = [f"token={token}" for token in accounts.access_tokens]
    requests = [
        Request("\r\n".join([*head, f"Content-Length: {len(body)}", "", body]).encode(), 200) for body in bodies
    ]

    def user() -> VirtualUser:
        while True:
            yield random.choice(requests)

    return user


def refreshes(accounts: Accounts) -> Callable[[], VirtualUser]:
    """Users who rotate the refresh token of one session again and again."""
    tokens = dict(enumerate(accounts.refresh_tokens))
    numbers = itertools.cycle(tokens)

    def user() -> VirtualUser:
        number = next(numbers)
        while True:
            response = yield _refresh(tokens[number])
            assert isinstance(response, Response)
            tokens[number] = json.loads(response.body)["data"]["refresh_token"]

    return user


def sign_ins(accounts: Accounts) -> Callable[[], VirtualUser]:
    """Users who sign in repeatedly from one device, which is a known device after the first sign-in.

    After a 503 they retry at once.
    """
    emails = itertools.cycle(accounts.emails)
    devices: dict[str, list[str]] = {}

    def user() -> VirtualUser:
        email = next(emails)
        body = json.dumps({"email": email, "password": PASSWORD})
        while True:
            response = yield request(
                "POST",
                f"{USERS}/sign_in",
                body=body,
                headers=devices.get(email, []),
                expects=200,
                may_be_unavailable=True,
            )
            if isinstance(response, Response) and response.status == 200:
                devices[email] = [f"Cookie: {cookie_of(response)}"]

    return user


def _refresh(token: str) -> Request:
    return request("POST", f"{USERS}/refresh_token", body=json.dumps({"refresh_token": token}), expects=200)
