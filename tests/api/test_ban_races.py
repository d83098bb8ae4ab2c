"""Races of bans with sign-in, refresh and reauthentication: whichever is first, no session survives the ban."""

import random
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Flask

from auth_service.adapters.email.dev_inbox import DevInbox
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox
from tests.support.administration import AdminClient, Administration
from tests.support.races import outcome, together
from tests.support.stores import Query

pytestmark = pytest.mark.usefixtures("no_deadlock")

OK, BANNED = (200, ""), (403, "account_banned")
REASON = {"json": {"reason": "Spam in the comments"}}
SHORT, LONG = 8, 200

Request = Callable[[], Any]
rounds_of_both_forms = pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(SHORT, id="short"),
        pytest.param(LONG, id="long", marks=[pytest.mark.chaos, pytest.mark.timeout(3600)]),
    ],
)


@pytest.fixture
def mailbox(crowded: Flask, tmp_path: Any) -> Mailbox:
    """The emails that `crowded` sends."""
    return Mailbox(crowded, DevInbox(tmp_path / "inbox"))


@pytest.fixture
def admin(crowded: Flask, mailbox: Mailbox) -> AdminClient:
    return Administration(crowded, mailbox).administrator()


@pytest.fixture
def ada(crowded: Flask, mailbox: Mailbox) -> int:
    return ApiClient(crowded).register(ADA, mailbox, password=PASSWORD)


class Race:
    """Bans Ada while another request of hers is under way, at a random moment of it, again and again."""

    def __init__(self, app: Flask, admin: AdminClient, user_id: int, query: Query) -> None:
        self._app, self._admin, self._user_id, self._query = app, admin, user_id, query
        self._random = random.Random(20261130)

    def run(self, prepare: Callable[[], Request], *, rounds: int) -> Counter[tuple[int, str]]:
        """Prepare a request and race it against a ban in each round; return the outcomes of the requests."""
        outcomes: Counter[tuple[int, str]] = Counter()
        duration = self._duration(prepare())
        for _ in range(rounds):
            request = prepare()
            moments = self._random.uniform(0, 1.2 * duration), self._random.uniform(0, 0.2 * duration)
            banned, answer = together(partial(self._ban, after=moments[0]), partial(_late, request, after=moments[1]))
            assert outcome(banned) == OK
            outcomes[outcome(answer)] += 1
            self._check_that_no_session_survived(answer)
            assert outcome(self._admin.call("DELETE", f"/admin/users/{self._user_id}/ban")) == OK
            self._check_that_no_session_survived(answer)
        return outcomes

    def _ban(self, *, after: float) -> Any:
        time.sleep(after)
        return self._admin.call("PUT", f"/admin/users/{self._user_id}/ban", **REASON)

    def _check_that_no_session_survived(self, answer: Any) -> None:
        live = "SELECT count(*) FROM sessions WHERE user_id = %s AND ended_at IS NULL"
        assert self._query(live, self._user_id) == [(0,)]
        tokens = answer.get_json().get("data")
        if tokens:
            api = ApiClient(self._app)
            assert not api.is_signed_in(tokens["access_token"])
            assert outcome(api.refresh(tokens["refresh_token"])) == (401, "refresh_rejected")

    @staticmethod
    def _duration(request: Request) -> float:
        began = time.perf_counter()
        assert outcome(request()) == OK
        return time.perf_counter() - began


def _late(request: Request, *, after: float) -> Any:
    time.sleep(after)
    return request()


@pytest.fixture
def race(crowded: Flask, admin: AdminClient, ada: int, query: Query) -> Race:
    return Race(crowded, admin, ada, query)


@rounds_of_both_forms
@pytest.mark.parametrize("method", ["password", "code"])
def test_ad3_no_session_survives_a_ban_during_a_sign_in(
    race: Race, crowded: Flask, mailbox: Mailbox, method: str, rounds: int, query: Query
) -> None:
    def prepare() -> Request:
        api = ApiClient(crowded)
        if method == "password":
            return partial(api.sign_in, ADA, PASSWORD)
        query("DELETE FROM letters")  # the daily cap of codes
        assert api.ask_to_sign_in(ADA).status_code == 200
        return partial(api.sign_in_by_code, ADA, mailbox.code_sent_to(ADA))

    outcomes = race.run(prepare, rounds=rounds)

    assert outcomes.keys() <= {OK, BANNED}
    assert rounds == SHORT or outcomes.keys() == {OK, BANNED}, "the ban came before and after the session"


@rounds_of_both_forms
def test_ad3_no_session_survives_a_ban_during_a_refresh(race: Race, crowded: Flask, rounds: int) -> None:
    def prepare() -> Request:
        api = ApiClient(crowded)
        return partial(api.refresh, api.signed_in(ADA, PASSWORD)["refresh_token"])

    outcomes = race.run(prepare, rounds=rounds)

    assert outcomes.keys() <= {OK, (401, "refresh_rejected")}
    assert rounds == SHORT or len(outcomes) == 2


@rounds_of_both_forms
def test_ad3_no_session_survives_a_ban_during_a_reauthentication(race: Race, crowded: Flask, rounds: int) -> None:
    def prepare() -> Request:
        api = ApiClient(crowded)
        token = api.signed_in(ADA, PASSWORD)["access_token"]
        return partial(api.with_token, token, "POST", "/me/reauthenticate", json={"password": PASSWORD})

    outcomes = race.run(prepare, rounds=rounds)

    assert outcomes.keys() <= {OK, (401, "token_invalid"), (409, "account_changed")}
    assert rounds == SHORT or len(outcomes) >= 2


def test_concurrent_equal_bans_are_recorded_and_emailed_once(
    crowded: Flask, admin: AdminClient, ada: int, mailbox: Mailbox, query: Query
) -> None:
    ban = partial(admin.call, "PUT", f"/admin/users/{ada}/ban", **REASON)

    assert {outcome(answer) for answer in together(*[ban] * 8)} == {OK}

    assert query("SELECT count(*) FROM events WHERE kind = 'user.banned'") == [(1,)]
    assert len([message for message in mailbox.letters_to(ADA) if "banned" in message.subject]) == 1


def test_concurrent_forced_resets_bans_and_changes_of_one_account_do_not_deadlock(
    crowded: Flask, admin: AdminClient, ada: int, query: Query
) -> None:
    path = f"/admin/users/{ada}"
    for _ in range(3):
        query("UPDATE users SET banned_until = NULL, banned_at = NULL, ban_reason = NULL")
        answers = together(
            *[partial(admin.call, "POST", f"{path}/force_password_reset", **REASON)] * 3,
            partial(admin.call, "PUT", f"{path}/ban", **REASON),
            partial(admin.call, "DELETE", f"{path}/ban"),
            partial(ApiClient(crowded).ask_to_recover, ADA),
            partial(ApiClient(crowded).ask_to_sign_in, ADA),
            partial(ApiClient(crowded).sign_in, ADA, PASSWORD),
        )
        assert {outcome(answer) for answer in answers} <= {OK, BANNED, (401, "credentials_rejected")}
    deleted = together(*[partial(admin.call, "DELETE", path, **REASON)] * 3)
    assert sorted(map(outcome, deleted)) == [OK, (404, "user_unknown"), (404, "user_unknown")]
