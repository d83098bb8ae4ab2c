"""Stateful test of registration with hypothesis: a user, an attacker, expiry and a flush of Redis against a model.

The suite runs the same few sequences each time, in half a minute; `MODEL_GAMES=5000 pytest tests/api/test_model.py`
runs that many random ones in each profile. A failure is printed as the shortest sequence of steps that causes it.
"""

import itertools
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

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
from tests.support.stores import Stores

pytestmark = pytest.mark.slow

GAMES = int(os.environ.get("MODEL_GAMES", "0"))
ATTEMPTS, ALL_ATTEMPTS = 5, 6
CLIENT_SUPPLIED = "7505"
"""The client-supplied code. It is never right in production, where codes have six digits."""
SETTINGS = {
    **dict.fromkeys(("limit_codes", "limit_codes_per_network", "limit_code_requests"), "100000/1m"),
    **dict.fromkeys(("limit_guesses", "limit_sign_ups", "limit_look_ups"), "100000/1m"),
    "limit_codes_a_day": 100_000,
    "ticket_guesses": ALL_ATTEMPTS,  # fewer than by default, so that sequences reach the limit
}

ATTACKER = "attacker"
BROWSERS = ("phone", "laptop", ATTACKER)
browsers = st.sampled_from(BROWSERS)
events = st.sampled_from(["nothing"] * 5 + ["codes expire", "Redis forgets", "users are stale"])
code_choices = st.sampled_from(["newest", "client-supplied", "older", "foreign"])
numbers = st.sampled_from([1, 2, 5])
passwords = st.sampled_from([None, "correct horse battery", "another horse battery"])

_numbers = itertools.count()

Outcome = tuple[int, str, int | None]
"""The status, the error code, and the attempts left after a wrong code."""
OK: Outcome = (200, "", None)
CREATED: Outcome = (201, "", None)
UNKNOWN: Outcome = (404, "user_unknown", None)
EXPIRED: Outcome = (404, "code_expired", None)
NOT_CONFIRMED: Outcome = (409, "mail_not_confirmed", None)

ERROR_CODES = {"", "user_unknown", "email_taken", "mail_already_verified", "mail_not_confirmed", "password_already_set"}
ERROR_CODES |= {"too_many_codes", "code_wrong", "code_expired"}


@dataclass
class IssuedCode:
    """The newest code that a browser requested."""

    user_id: int
    code: str
    wrong: int
    total: int
    state: Literal["open", "confirmed", "invalidated"] = "open"
    expired: bool = False
    checked: int = 0


@dataclass
class Model:
    """The expected state, derived from the contract alone."""

    user_id: int | None = None
    finished_by: str | None = None
    password: str | None = None
    issued_codes: dict[str, IssuedCode] = field(default_factory=dict)

    def code_of(self, who: str) -> IssuedCode | None:
        """The newest code of a browser, provided that it belongs to the current user."""
        issued = self.issued_codes.get(who)
        return issued if issued and issued.user_id == self.user_id else None

    def request_code(self, who: str) -> Outcome:
        issued = self.code_of(who)
        if self.user_id is None:
            return UNKNOWN
        if self.finished_by:
            return 409, "mail_already_verified", None
        return (429, "too_many_codes", None) if issued and issued.total >= ALL_ATTEMPTS else OK

    def issue(self, who: str, code: str) -> None:
        previous = self.code_of(who)
        assert self.user_id is not None
        self.issued_codes[who] = IssuedCode(
            user_id=self.user_id,
            code=code,
            wrong=previous.wrong if previous and previous.state == "open" and not previous.expired else 0,
            total=previous.total if previous else 0,
        )

    def confirm(self, who: str, code: str) -> Outcome:
        issued = self.code_of(who)
        if issued is None or self.finished_by or issued.state != "open" or issued.expired:
            return EXPIRED
        issued.checked += 1
        if code == issued.code:
            issued.state = "confirmed"
            return OK
        issued.wrong += 1
        issued.total += 1
        if issued.wrong == ATTEMPTS:
            issued.state = "invalidated"
        return 404, "code_wrong", ATTEMPTS - issued.wrong

    def finish(self, who: str, password: str | None) -> Outcome:
        issued = self.code_of(who)
        if self.user_id is None:
            return UNKNOWN
        if self.finished_by is None and issued and issued.state == "confirmed":
            self.finished_by, self.password = who, password
        if self.finished_by != who:
            return NOT_CONFIRMED
        return OK if password in (None, self.password) else (409, "password_already_set", None)


class Registrations(RuleBasedStateMachine):
    """One address and three browsers: two of the user with the mailbox, one of an attacker without it."""

    def __init__(self, app: Flask, stores: Stores, folder: Path, outcomes: Counter[tuple[str, Outcome]]) -> None:
        super().__init__()
        self.app = app
        self.services: Services = app.extensions["auth_service"]
        self.email = f"ada{next(_numbers)}@example.org"
        self.stored = ""
        self.inbox = DevInbox(folder / self.email)
        self.mailbox = Mailbox(app, self.inbox)
        self.emailed_codes: list[tuple[str, str]] = []
        """The browser that requested a code and the code, for each email that reached the mailbox."""
        self.clients = {name: ApiClient(app) for name in BROWSERS}
        self.model = Model()
        self.outcomes = outcomes
        self.redis = redis.Redis.from_url(stores.redis_url)
        self.database = psycopg2.connect(stores.database_url.replace("+psycopg2", ""))
        self.database.autocommit = True

    def teardown(self) -> None:
        self.redis.flushdb()
        self.redis.close()
        self.database.close()

    def agree(self, who: str, answer: TestResponse, expected: Outcome) -> None:
        """Compare the response with the expected outcome, and count the outcome."""
        error = (answer.json or {}).get("error") or {}
        assert (answer.status_code, error.get("code", ""), error.get("attempts_left")) == expected
        self.outcomes[who, expected] += 1

    @property
    def user_id(self) -> int:
        """The id in requests: the id of the user, or an unknown one."""
        return self.model.user_id or 4711

    @initialize(who=browsers | st.none())
    def begin(self, who: str | None) -> None:
        # Outside production flow tickets are optional, and an unbound attempt checks the newest code of the user. Each
        # browser starts with a ticket, so that all attempts are bound.
        if not self.services.settings.production:
            for api in self.clients.values():
                api.client.set_cookie("registration", new_ticket(), domain="localhost")
        if who:
            self.sign_up(who)

    # Actions of users and of the attacker.

    @rule(who=browsers)
    def sign_up(self, who: str) -> None:
        email = self.email.replace("ada", "ADA") if who == ATTACKER else self.email
        answer = self.clients[who].try_to_sign_up(email)

        self.agree(who, answer, CREATED if self.model.user_id is None else (409, "email_taken", None))
        if answer.status_code == 201:
            self.model.user_id, self.stored = answer.json["data"]["id"], email  # type: ignore[index]

    @rule(who=browsers, again=st.booleans(), client_supplied=st.booleans())
    def ask_for_a_code(self, who: str, again: bool, client_supplied: bool) -> None:
        # An attacker with client-supplied codes needs no mailbox, so the attacker does not use them where they count.
        supplied = (
            CLIENT_SUPPLIED if client_supplied and (self.services.settings.production or who != ATTACKER) else None
        )
        ask = self.clients[who].ask_again if again else self.clients[who].ask_for_code
        answer = ask(self.user_id, supplied)

        self.agree(who, answer, self.model.request_code(who))
        if answer.status_code != 200:
            assert self.mailbox.deliver() == []
            return
        assert self.mailbox.deliver() == ["sent"]
        [message] = self.inbox.letters(limit=1)
        code = message.code or ""
        assert message.to == self.stored
        assert len(code) == 6 if self.services.settings.production or not supplied else code == supplied
        self.emailed_codes.append((who, code))
        self.model.issue(who, code)

    @rule(
        who=browsers,
        which=st.sampled_from(["newest", "older", "foreign", "client-supplied"]),
        times=st.sampled_from([1, 1, 4, 5]),
    )
    def guess(self, who: str, which: str, times: int) -> None:
        # The user may send any code from the mailbox, also a wrong one. The attacker knows the codes that the browsers
        # of the user requested and the client-supplied code, but not the codes that the attacker's browser requested.
        own = [code for asked_by, code in self.emailed_codes if asked_by == who != ATTACKER]
        foreign = [code for asked_by, code in self.emailed_codes if asked_by != who]
        code = {"newest": own[-1:], "older": own[-2:-1], "foreign": foreign[-1:]}.get(which) or [CLIENT_SUPPLIED]
        for _ in range(times):
            answer = self.clients[who].confirm(self.user_id, code[0])
            self.agree(who, answer, self.model.confirm(who, code[0]))
            assert (who, answer.status_code) != (ATTACKER, 200)
        assert all(issued.checked <= ATTEMPTS for issued in self.model.issued_codes.values())

    @rule(who=browsers, chosen=st.lists(passwords, min_size=1, max_size=3))
    def finish(self, who: str, chosen: list[str | None]) -> None:
        for password in chosen:
            answer = self.clients[who].finish(self.user_id, **({"password": password} if password else {}))
            self.agree(who, answer, self.model.finish(who, password))
            assert (who, answer.status_code) != (ATTACKER, 200)

    @rule(
        who=browsers,
        rounds=st.lists(st.tuples(events, code_choices, numbers, events), min_size=2, max_size=5),
        chosen=st.lists(passwords, max_size=2),
    )
    def register(self, who: str, rounds: list[tuple[str, str, int, str]], chosen: list[str | None]) -> None:
        for before, which, times, after in rounds:
            if self.model.user_id is None:
                self.sign_up(who)
            self.ask_for_a_code(who, again=times > 1, client_supplied=False)
            self.fate(before, who)
            self.guess(who, which, times)
            self.fate(after, who)
        self.finish(who, chosen)

    # Events outside the control of users.

    @rule(what=events, who=browsers | st.none())
    def fate(self, what: str, who: str | None) -> None:
        match what:
            case "codes expire":
                for key in self.redis.scan_iter("auth:challenge:*"):
                    self.redis.hset(key, "until", 1)  # in milliseconds since 1970; Redis keeps its own clock
                for issued in self.model.issued_codes.values():
                    issued.expired = True
            case "Redis forgets":
                self.redis.flushdb()
                self.model.issued_codes.clear()
            case "users are stale":
                self._row("UPDATE users SET created_at = now() - interval '8 days' WHERE email_key = %s RETURNING id")
                with self.app.app_context(), unit_of_work():
                    stale = self.services.settings.temporary_user_lifetime_seconds
                    self.services.users.delete_stale_temporary_users(at_most=1000, older_than=stale)
                if not self.model.finished_by:
                    self.model.user_id = None
                if who:
                    self.sign_up(who)

    # Invariants.

    @invariant()
    def the_database_agrees(self) -> None:
        row = self._row(
            "SELECT id, email, verified_mail, verified_at IS NOT NULL, registration_digest IS NOT NULL,"
            " password_hash IS NOT NULL, array(SELECT role FROM user_roles WHERE user_id = users.id)"
            " FROM users WHERE email_key = %s"
        )
        is_finished = self.model.finished_by is not None
        role = "ROLE_PORTAL_USER" if is_finished else "ROLE_TEMPORARY_USER"
        state = (
            self.model.user_id,
            self.stored,
            is_finished,
            is_finished,
            is_finished,
            self.model.password is not None,
            [role],
        )
        assert row == (state if self.model.user_id else None)

    @rule(who=browsers)
    def look_up(self, who: str) -> None:
        answer = self.clients[who].look_up(self.email)

        self.agree(who, answer, OK if self.model.user_id else UNKNOWN)
        if self.model.user_id:
            is_finished = self.model.finished_by is not None
            role = "ROLE_PORTAL_USER" if is_finished else "ROLE_TEMPORARY_USER"
            user = {"id": self.model.user_id, "email": self.stored, "roles": [role], "verified_mail": is_finished}
            assert answer.json == {"success": True, "data": user}

    @invariant()
    def no_two_browsers_share_a_ticket(self) -> None:
        name = "__Host-registration" if self.services.settings.production else "registration"
        cookies = [api.client.get_cookie(name, domain="localhost") for api in self.clients.values()]
        tickets = [cookie.value for cookie in cookies if cookie]
        assert len(set(tickets)) == len(tickets)

    def _row(self, query: str) -> Any:
        with self.database.cursor() as cursor:
            cursor.execute(query, (self.email,))
            return cursor.fetchone()


@pytest.mark.timeout(300 + 5 * GAMES)
@pytest.mark.parametrize("profile", ["production", "test"])
def test_no_sequence_of_steps_violates_the_contract(
    make_app: MakeApp, stores: Stores, tmp_path: Path, profile: str
) -> None:
    app = make_app(app_env=profile, **SETTINGS)
    outcomes: Counter[tuple[str, Outcome]] = Counter()

    run_state_machine_as_test(
        lambda: Registrations(app, stores, tmp_path, outcomes),  # type: ignore[arg-type] # it accepts any factory
        settings=settings(
            max_examples=GAMES or 15,
            derandomize=not GAMES,
            stateful_step_count=30,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

    assert {code for (_, (_, code, _)) in outcomes} == ERROR_CODES, "the sequences have to reach every error code"
