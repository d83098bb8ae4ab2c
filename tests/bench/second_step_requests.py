"""Benchmark requests of a sign-in with TOTP: its two requests under load, and its round trips."""

import itertools
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import psycopg2.extras

from auth_service.adapters.crypto.password_hasher import PasswordHasher
from auth_service.adapters.crypto.totp import TotpSecrets, hotp, step_of
from auth_service.adapters.email.dev_inbox import DevInbox
from tests.bench.load import Response, VirtualUser, request
from tests.bench.registration_requests import USERS, cookie_of
from tests.bench.session_requests import PASSWORD
from tests.bench.testbed import Testbed
from tests.support.accounts import Accounts
from tests.support.actors import Mailbox
from tests.support.application import application
from tests.support.round_trips_second_factor import CASES, SIGN_IN, STEP
from tests.support.round_trips_table import SETTINGS, TIMES, measured

ENABLE_TOTP = """
WITH chosen AS (SELECT id, email FROM users WHERE verified_mail AND password_hash IS NULL ORDER BY id)
UPDATE users SET password_hash = %s FROM chosen WHERE users.id = chosen.id RETURNING users.id, users.email
"""
ADD_SECRETS = "INSERT INTO second_factors (user_id, secret, confirmed_at, last_step) VALUES %s"


@dataclass(frozen=True, kw_only=True, slots=True)
class TotpAccounts:
    """Accounts with TOTP and the same secret."""

    emails: Sequence[str]
    secret: bytes


def prepare_totp(testbed: Testbed, database_url: str) -> TotpAccounts:
    """Enable TOTP for all users without a password, and give them one."""
    secrets = TotpSecrets(testbed.secrets["SECOND_FACTOR_KEY"], previous=None)
    secret = secrets.new()
    with closing(psycopg2.connect(database_url.replace("+psycopg2", ""))) as connection, connection.cursor() as cursor:
        cursor.execute(ENABLE_TOTP, (PasswordHasher(concurrent=1).hash(PASSWORD),))
        users = cursor.fetchall()
        rows = [(user_id, secrets.seal(secret, user_id=user_id)) for user_id, _ in users]
        psycopg2.extras.execute_values(cursor, ADD_SECRETS, rows, template="(%s, %s, now(), 0)")
        connection.commit()
        connection.autocommit = True
        cursor.execute("VACUUM ANALYZE users, second_factors")
    return TotpAccounts(emails=[email for _, email in users], secret=secret)


def sign_ins_with_totp(accounts: TotpAccounts) -> Callable[[], VirtualUser]:
    """Users who sign in with the password and a code, from a known device after the first sign-in.

    A code works once, so every sign-in is that of another account, with the first accepted code that it has not used.
    """
    emails = itertools.cycle(accounts.emails)
    used: dict[str, int] = defaultdict(int)
    devices: dict[str, list[str]] = {}

    def user() -> VirtualUser:
        for email in emails:
            first = yield request(
                "POST",
                f"{USERS}/sign_in",
                body=json.dumps({"email": email, "password": PASSWORD}),
                headers=devices.get(email, []),
                expects=401,
                may_be_unavailable=True,
            )
            if not isinstance(first, Response) or first.status != 401:
                continue
            used[email] = step = max(used[email] + 1, step_of(time.time()))
            ticket = json.loads(first.body)["error"]["ticket"]
            second = yield request(
                "POST",
                f"{USERS}/sign_in/second_step",
                body=json.dumps({"ticket": ticket, "totp": hotp(accounts.secret, step)}),
                headers=devices.get(email, []),
                expects=200,
                may_be_unavailable=True,
            )
            if isinstance(second, Response) and second.status == 200:
                devices[email] = [f"Cookie: {cookie_of(second)}"]

    return user


def further_round_trips() -> int:
    """How many round trips the second step makes beyond those of a sign-in without a second factor."""
    cases = {(case.endpoint, case.case): case for case in CASES}
    with application(**SETTINGS) as app, tempfile.TemporaryDirectory() as folder:
        accounts = Accounts(app, Mailbox(app, DevInbox(Path(folder))))
        plain, step = (
            measured(cases[key], accounts, times=TIMES) for key in ((SIGN_IN, "known device"), (STEP, "TOTP"))
        )
    return step.postgres + step.redis - plain.postgres - plain.redis
