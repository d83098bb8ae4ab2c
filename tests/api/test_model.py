"""Registration as a game: an honest user, a stranger, the clock and a flush of Redis, in any order, against a model.

The suite plays the same few games each time, in half a minute; `MODEL_GAMES=5000 pytest tests/api/test_model.py` plays
that many other ones in each profile. What fails is printed as a shortest list of steps.
"""

import itertools
import os
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redis
from flask import Flask
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from werkzeug.test import TestResponse

from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.adapters.redis.code_store import new_ticket
from auth_service.db import unit_of_work
from auth_service.wiring import Services
from tests.support.actors import ApiClient, Mailbox
from tests.support.application import MakeApp
from tests.support.registration_model import ALL_GUESSES, GUESSES, OK, TOLD, UNKNOWN, Model, Outcome
from tests.support.stores import Stores

pytestmark = pytest.mark.slow

GAMES = int(os.environ.get("MODEL_GAMES", "0"))
CLIENT_SUPPLIED = "7505"
"""The code that people bring. It is never right in production, whose codes have six digits."""
SETTINGS = {
    **dict.fromkeys(("limit_codes_per_network", "limit_code_requests"), "100000/1m"),
    **dict.fromkeys(("limit_guesses", "limit_sign_ups", "limit_look_ups"), "100000/1m"),
    "limit_codes_a_day": 100_000,
    "sign_in_free_attempts": 64,
    "ticket_guesses": ALL_GUESSES,  # fewer than usual, so that games come to their end
}

STRANGER = "stranger"
BROWSERS = ("phone", "laptop", STRANGER)
browsers = st.sampled_from(BROWSERS)
fates = st.sampled_from(["nothing"] * 5 + ["the codes are late", "Redis forgets", "users are stale"])
guesses = st.sampled_from(["newest", "client-supplied", "older", "foreign"])
numbers = st.sampled_from([1, 2, 5])
passwords = st.sampled_from([None, "correct horse battery", "another horse battery"])

_numbers = itertools.count()


REFUSALS = {"", "user_unknown", "email_taken", "mail_already_verified", "mail_not_confirmed", "password_already_set"}
REFUSALS |= {"too_many_codes", "code_wrong", "code_expired"}


class Registrations(RuleBasedStateMachine):
    """One address, three browsers: two of the user who owns the mailbox, one of an attacker who does not."""

    def __init__(self, app: Flask, stores: Stores, folder: Path, seen: Counter[tuple[str, Outcome]]) -> None:
        super().__init__()
        self.app = app
        self.services: Services = app.extensions["auth_service"]
        self.email = f"ada{next(_numbers)}@example.org"
        self.stored = ""
        self.inbox = DevInbox(folder / self.email)
        self.mailbox = Mailbox(app, self.inbox)
        self.letters: list[tuple[str, str]] = []
        """Whose browser asked, and the code in the letter: all that reached the mailbox."""
        self.visitors = {name: ApiClient(app) for name in BROWSERS}
        self.model = Model()
        self.seen = seen
        self.redis = redis.Redis.from_url(stores.redis_url)
        self.database = psycopg2.connect(stores.database_url.replace("+psycopg2", ""))
        self.database.autocommit = True

    def teardown(self) -> None:
        self.redis.flushdb()
        self.redis.close()
        self.database.close()

    def agree(self, who: str, answer: TestResponse, expected: Outcome) -> None:
        """Compare what happened with what should have happened."""
        error = (answer.json or {}).get("error") or {}
        assert (answer.status_code, error.get("code", ""), error.get("attempts_left")) == expected
        self.seen[who, expected] += 1

    @property
    def user_id(self) -> int:
        """The id that requests name: the user's, or one that nobody has."""
        return self.model.user_id or 4711

    @initialize(who=browsers | st.none())
    def begin(self, who: str | None) -> None:
        # Every browser has a ticket where tickets are optional: without one the newest code of the user counts
        # there, from any browser.
        if not self.services.settings.production:
            for api in self.visitors.values():
                api.client.set_cookie("registration", new_ticket(), domain="localhost")
        if who:
            self.sign_up(who)

    # What people do.

    @rule(who=browsers)
    def sign_up(self, who: str) -> None:
        written = self.email.replace("ada", "ADA") if who == STRANGER else self.email
        answer = self.visitors[who].try_to_sign_up(written)

        self.agree(who, answer, TOLD if self.model.user_id is None else (409, "email_taken", None))
        if answer.status_code == 201:
            self.model.user_id, self.stored = answer.json["data"]["id"], written  # type: ignore[index]

    @rule(who=browsers, again=st.booleans(), brings=st.booleans())
    def ask_for_a_code(self, who: str, again: bool, brings: bool) -> None:
        # Where callers bring codes, a stranger who does needs no mailbox: that profile is not for strangers.
        supplied = CLIENT_SUPPLIED if brings and (self.services.settings.production or who != STRANGER) else None
        ask = self.visitors[who].ask_again if again else self.visitors[who].ask_for_code
        answer = ask(self.user_id, supplied)

        self.agree(who, answer, self.model.asked(who))
        if answer.status_code != 200:
            assert self.mailbox.deliver() == []
            return
        assert self.mailbox.deliver() == ["sent"]
        [letter] = self.inbox.messages(limit=1)
        code = letter.code or ""
        assert letter.to == self.stored
        assert len(code) == 6 if self.services.settings.production or not supplied else code == supplied
        self.letters.append((who, code))
        self.model.issued(who, code)

    @rule(
        who=browsers,
        which=st.sampled_from(["newest", "older", "foreign", "client-supplied"]),
        times=st.sampled_from([1, 1, 4, 5]),
    )
    def guess(self, who: str, which: str, times: int) -> None:
        # The owner of the mailbox may send any code from it, also a wrong one. The attacker knows the codes that others
        # requested and the client-supplied ones, but not those that the attacker's browser requested.
        own = [code for asked_by, code in self.letters if asked_by == who != STRANGER]
        foreign = [code for asked_by, code in self.letters if asked_by != who]
        code = {"newest": own[-1:], "older": own[-2:-1], "foreign": foreign[-1:]}.get(which) or [CLIENT_SUPPLIED]
        for _ in range(times):
            answer = self.visitors[who].confirm(self.user_id, code[0])
            self.agree(who, answer, self.model.guessed(who, code[0]))
            assert (who, answer.status_code) != (STRANGER, 200)
        assert all(challenge.judged <= GUESSES for challenge in self.model.challenges.values())

    @rule(who=browsers, chosen=st.lists(passwords, min_size=1, max_size=3))
    def finish(self, who: str, chosen: list[str | None]) -> None:
        for password in chosen:
            answer = self.visitors[who].finish(self.user_id, **({"password": password} if password else {}))
            self.agree(who, answer, self.model.finished(who, password))
            assert (who, answer.status_code) != (STRANGER, 200)

    @rule(
        who=browsers,
        rounds=st.lists(st.tuples(fates, guesses, numbers, fates), min_size=2, max_size=5),
        chosen=st.lists(passwords, max_size=2),
    )
    def register(self, who: str, rounds: list[tuple[str, str, int, str]], chosen: list[str | None]) -> None:
        for before, which, times, after in rounds:
            if self.model.user_id is None:
                self.sign_up(who)
            self.ask_for_a_code(who, again=times > 1, brings=False)
            self.fate(before, who)
            self.guess(who, which, times)
            self.fate(after, who)
        self.finish(who, chosen)

    # What happens to everybody.

    @rule(what=fates, who=browsers | st.none())
    def fate(self, what: str, who: str | None) -> None:
        match what:
            case "the codes are late":
                for key in self.redis.scan_iter("auth:challenge:*"):
                    self.redis.hset(key, "until", 1)  # in milliseconds since 1970; Redis keeps its own clock
                for challenge in self.model.challenges.values():
                    challenge.late = True
            case "Redis forgets":
                self.redis.flushdb()
                self.model.challenges.clear()
            case "users are stale":
                self._row("UPDATE users SET created_at = now() - interval '8 days' WHERE email_key = %s RETURNING id")
                with self.app.app_context(), unit_of_work():
                    stale = self.services.settings.temporary_user_lifetime_seconds
                    self.services.users.delete_stale_temporary_users(at_most=1000, older_than=stale)
                if not self.model.finished_by:
                    self.model.user_id = None
                if who:
                    self.sign_up(who)

    # What is true at any time.

    @invariant()
    def the_database_agrees(self) -> None:
        row = self._row(
            "SELECT id, email, verified_mail, verified_at IS NOT NULL, registration_digest IS NOT NULL,"
            " password_hash IS NOT NULL, array(SELECT role FROM user_roles WHERE user_id = users.id)"
            " FROM users WHERE email_key = %s"
        )
        done = self.model.finished_by is not None
        role = "ROLE_PORTAL_USER" if done else "ROLE_TEMPORARY_USER"
        state = (self.model.user_id, self.stored, done, done, done, self.model.password is not None, [role])
        assert row == (state if self.model.user_id else None)

    @rule(who=browsers)
    def look_up(self, who: str) -> None:
        answer = self.visitors[who].look_up(self.email)

        self.agree(who, answer, OK if self.model.user_id else UNKNOWN)
        if self.model.user_id:
            done = self.model.finished_by is not None
            role = "ROLE_PORTAL_USER" if done else "ROLE_TEMPORARY_USER"
            card = {"id": self.model.user_id, "email": self.stored, "roles": [role], "verified_mail": done}
            assert answer.json == {"success": True, "data": card}

    @invariant()
    def nobody_holds_the_ticket_of_another(self) -> None:
        name = "__Host-registration" if self.services.settings.production else "registration"
        cookies = [api.client.get_cookie(name, domain="localhost") for api in self.visitors.values()]
        tickets = [cookie.value for cookie in cookies if cookie]
        assert len(set(tickets)) == len(tickets)

    def _row(self, query: str) -> Any:
        with self.database.cursor() as cursor:
            cursor.execute(query, (self.email,))
            return cursor.fetchone()


@pytest.mark.timeout(300 + 5 * GAMES)
@pytest.mark.parametrize("profile", ["production", "test"])
def test_no_order_of_steps_breaks_a_promise(make_app: MakeApp, stores: Stores, tmp_path: Path, profile: str) -> None:
    app = make_app(app_env=profile, **SETTINGS)
    seen: Counter[tuple[str, Outcome]] = Counter()

    run_state_machine_as_test(
        lambda: Registrations(app, stores, tmp_path, seen),  # type: ignore[arg-type] # it takes whatever makes one
        settings=settings(
            max_examples=GAMES or 15,
            derandomize=not GAMES,
            stateful_step_count=30,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

    assert {code for (_, (_, code, _)) in seen} == REFUSALS, "games that stay shallow show nothing"
