"""Benchmark requests without an account: look-ups, sign-ups and complete registrations."""

import itertools
import json
import random
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg2

from auth_service.adapters.crypto.keys import Sealer
from tests.bench.load import Response, RunSteps, UnmeasuredStep, VirtualUser, request

USERS = "/api/v1/users"
COOKIE = re.compile(rb"\r\nset-cookie: *([^;\r]+)", re.IGNORECASE)
REQUESTS_OF_A_FLOW = 6


def repeated_gets(path: str) -> Callable[[], VirtualUser]:
    """Users who repeat one GET."""

    def user() -> VirtualUser:
        while True:
            yield request("GET", path, expects=200)

    return user


def look_ups(path: str, *, users: int) -> Callable[[], VirtualUser]:
    """Users who look up random ones of `users` users."""

    def user() -> VirtualUser:
        while True:
            yield request("GET", f"{path}?email=person{random.randint(1, users)}@example.org", expects=200)

    return user


def sign_ups(tag: str) -> Callable[[], VirtualUser]:
    """Users who sign up with one new address after another."""
    numbers = itertools.count()

    def user() -> VirtualUser:
        while True:
            body = json.dumps({"email": f"{tag}.{next(numbers)}@example.org"})
            yield request("POST", f"{USERS}/sign_up", body=body, expects=201)

    return user


def registrations(tag: str) -> Callable[[], VirtualUser]:
    """Users who register in six requests, with the code of the second email."""
    numbers = itertools.count()

    def user() -> VirtualUser:
        email = f"{tag}.{next(numbers)}@example.org"
        yield request("GET", f"{USERS}?email={email}", expects=404)
        signed_up = yield request("POST", f"{USERS}/sign_up", body=json.dumps({"email": email}), expects=201)
        assert isinstance(signed_up, Response)
        user_id = json.loads(signed_up.body)["data"]["id"]
        sent = yield request("POST", f"{USERS}/{user_id}/send_code", body='{"code": 7505}', expects=200)
        cookie = f"Cookie: {cookie_of(sent)}"
        yield request("POST", f"{USERS}/{user_id}/resend_code", body='{"code": 7506}', headers=[cookie], expects=200)
        code = yield UnmeasuredStep(user_id)
        yield request("PUT", f"{USERS}/{user_id}/mail?code={code}", headers=[cookie], expects=200)
        finished = yield request("PATCH", f"{USERS}/{user_id}/sign_up", headers=[cookie], expects=200)
        assert isinstance(finished, Response)
        assert json.loads(finished.body)["data"]["roles"] == ["ROLE_PORTAL_USER"]

    return user


def cookie_of(response: Response | str) -> str:
    """The first cookie in a response."""
    assert isinstance(response, Response)
    cookie = COOKIE.search(response.head)
    assert cookie, "the response has no cookie"
    return cookie[1].decode()


@contextmanager
def code_reader(*, database_url: str, outbox_key: str) -> Iterator[RunSteps]:
    """Yields a function that reads the codes of the newest emails of users from the outbox, by their ids."""
    sealer = Sealer(outbox_key, purpose="letters")
    with closing(psycopg2.connect(database_url.replace("+psycopg2", ""))) as connection:
        connection.autocommit = True

        def read_codes(user_ids: list[int]) -> dict[int, str]:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT user_id, id, payload FROM letters WHERE user_id = ANY(%s) ORDER BY created_at", (user_ids,)
                )
                return {
                    user_id: str(sealer.open(bytes(payload), place=uuid.UUID(id_).bytes)["code"])
                    for user_id, id_, payload in cursor.fetchall()
                }

        yield read_codes
