"""The people of the bench: look-ups, sign-ups, and complete registrations."""

import itertools
import json
import random
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg2

from auth_service.adapters.crypto.keys import Sealer
from tests.bench.load import Answer, Errand, RunErrands, UserRecord, request

USERS = "/api/v1/users"
COOKIE = re.compile(rb"\r\nset-cookie: *([^;\r]+)", re.IGNORECASE)
REQUESTS_OF_A_FLOW = 6


def asking(path: str) -> Callable[[], UserRecord]:
    """A user who asks the same again and again."""

    def user() -> UserRecord:
        while True:
            yield request("GET", path, expects=200)

    return user


def looking_up(path: str, *, users: int) -> Callable[[], UserRecord]:
    """A user who looks up one of so many users, at random, again and again."""

    def user() -> UserRecord:
        while True:
            yield request("GET", f"{path}?email=person{random.randint(1, users)}@example.org", expects=200)

    return user


def signing_up(tag: str) -> Callable[[], UserRecord]:
    """A user who signs up with one new address after another."""
    numbers = itertools.count()

    def user() -> UserRecord:
        while True:
            body = json.dumps({"email": f"{tag}.{next(numbers)}@example.org"})
            yield request("POST", f"{USERS}/sign_up", body=body, expects=201)

    return user


def registering(tag: str) -> Callable[[], UserRecord]:
    """A user who registers in six requests: the address is free, and the code of the second letter is brought."""
    numbers = itertools.count()

    def user() -> UserRecord:
        email = f"{tag}.{next(numbers)}@example.org"
        yield request("GET", f"{USERS}?email={email}", expects=404)
        signed_up = yield request("POST", f"{USERS}/sign_up", body=json.dumps({"email": email}), expects=201)
        assert isinstance(signed_up, Answer)
        user_id = json.loads(signed_up.body)["data"]["id"]
        sent = yield request("POST", f"{USERS}/{user_id}/send_code", body='{"code": 7505}', expects=200)
        cookie = f"Cookie: {cookie_of(sent)}"
        yield request("POST", f"{USERS}/{user_id}/resend_code", body='{"code": 7506}', headers=[cookie], expects=200)
        code = yield Errand(user_id)
        yield request("PUT", f"{USERS}/{user_id}/mail?code={code}", headers=[cookie], expects=200)
        finished = yield request("PATCH", f"{USERS}/{user_id}/sign_up", headers=[cookie], expects=200)
        assert isinstance(finished, Answer)
        assert json.loads(finished.body)["data"]["roles"] == ["ROLE_PORTAL_USER"]

    return user


def cookie_of(answer: Answer | str) -> str:
    """The first cookie that came with an answer."""
    assert isinstance(answer, Answer)
    found = COOKIE.search(answer.head)
    assert found, "no ticket came with the code"
    return found[1].decode()


@contextmanager
def letterbox(*, database_url: str, outbox_key: str) -> Iterator[RunErrands]:
    """Answers errands: for the ids of users, the codes of their newest letters, read from the outbox."""
    sealer = Sealer(outbox_key, purpose="letters")
    with closing(psycopg2.connect(database_url.replace("+psycopg2", ""))) as connection:
        connection.autocommit = True

        def read(user_ids: list[int]) -> dict[int, str]:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT user_id, id, payload FROM letters WHERE user_id = ANY(%s) ORDER BY created_at", (user_ids,)
                )
                return {
                    user_id: str(sealer.open(bytes(box), place=uuid.UUID(letter).bytes)["code"])
                    for user_id, letter, box in cursor.fetchall()
                }

        yield read
