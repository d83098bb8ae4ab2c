"""Race conditions on one account: concurrent requests in threads, of which at most one conflicting one succeeds."""

import math
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import psycopg2
import pytest
from flask import Flask

from auth_service.adapters.email.dev_inbox import DevInbox
from tests.support.actors import ApiClient, Mailbox
from tests.support.races import at_once, outcome, together
from tests.support.statements import LOCK_WAITS
from tests.support.stores import Query, Stores

ADA, GRACE, NEW = "ada@example.org", "grace@example.org", "new@example.org"
PASSWORD = "correct horse battery"
ROUNDS = 6
OK = (200, "")


@pytest.fixture
def mailbox(crowded: Flask, tmp_path: Any) -> Mailbox:
    """The emails that `crowded` sends."""
    return Mailbox(crowded, DevInbox(tmp_path / "inbox"))


@pytest.fixture
def ada(crowded: Flask, mailbox: Mailbox) -> ApiClient:
    """A registered user of the application without rate limits."""
    api = ApiClient(crowded)
    api.register(ADA, mailbox, password=PASSWORD)
    return api


pytestmark = [pytest.mark.usefixtures("no_deadlock"), pytest.mark.slow]


def tokens_of(responses: list[Any]) -> list[dict[str, Any]]:
    """The tokens of the successful responses."""
    return [response.get_json()["data"] for response in responses if response.status_code == 200]


def test_pw10_a_password_reset_revokes_concurrent_sign_ins_with_the_old_password(
    ada: ApiClient, crowded: Flask, mailbox: Mailbox
) -> None:
    old = PASSWORD
    for number in range(ROUNDS):
        new = f"{PASSWORD} {number}"
        ada.ask_to_recover(ADA)
        code = mailbox.code_sent_to(ADA)

        recovered, *sign_ins = together(
            partial(ada.recover, ADA, code, new),
            *[partial(ApiClient(crowded).sign_in, ADA, old) for _ in range(4)],
        )

        assert outcome(recovered) == OK
        assert {outcome(response) for response in sign_ins} <= {OK, (401, "credentials_rejected")}
        for tokens in tokens_of(sign_ins):
            assert not ada.is_signed_in(tokens["access_token"])
            assert ada.refresh(tokens["refresh_token"]).status_code == 401
        old = new


def test_pw9_a_password_change_revokes_concurrent_sign_ins_with_the_old_password(
    ada: ApiClient, crowded: Flask, query: Query
) -> None:
    own_tokens = ada.signed_in(ADA, PASSWORD)
    old = PASSWORD
    for number in range(ROUNDS):
        new = f"{PASSWORD} {number}"
        other_tokens = ApiClient(crowded).signed_in(ADA, old)

        changed, other_refreshed, own_refreshed, *sign_ins = together(
            partial(ada.change_password, own_tokens["access_token"], old, new),
            partial(ApiClient(crowded).refresh, other_tokens["refresh_token"]),
            partial(ApiClient(crowded).refresh, own_tokens["refresh_token"]),
            *[partial(ApiClient(crowded).sign_in, ADA, old) for _ in range(3)],
        )

        assert (outcome(changed), outcome(own_refreshed)) == (OK, OK)
        assert outcome(other_refreshed) in {OK, (401, "refresh_rejected")}
        assert {outcome(response) for response in sign_ins} <= {OK, (401, "credentials_rejected")}
        for tokens in (other_tokens, *tokens_of([other_refreshed, *sign_ins])):
            assert not ada.is_signed_in(tokens["access_token"])
            assert ada.refresh(tokens["refresh_token"]).status_code == 401
        [own_tokens] = tokens_of([own_refreshed])
        assert ada.is_signed_in(own_tokens["access_token"])
        old = new
    assert query("SELECT count(*) FROM sessions WHERE ended_at IS NULL") == [(1,)]


def test_pw9_one_of_several_concurrent_password_changes_succeeds(ada: ApiClient, crowded: Flask, query: Query) -> None:
    tokens = [ApiClient(crowded).signed_in(ADA, PASSWORD)["access_token"] for _ in range(6)]
    numbers = iter(range(6))

    def change() -> Any:
        number = next(numbers)
        return ApiClient(crowded).change_password(tokens[number], PASSWORD, f"{PASSWORD} {number}")

    responses = at_once(6, change)

    outcomes = Counter(map(outcome, responses))
    assert outcomes[OK] == 1
    # A later change fails in one of three ways: the account has changed since it was read, the session is revoked, or
    # the current password in the request is outdated.
    later_errors = {(409, "account_changed"), (401, "token_invalid"), (403, "password_wrong")}
    assert outcomes.keys() <= {OK, *later_errors}
    assert (409, "account_changed") in outcomes
    assert query("SELECT credential_version FROM users") == [(1,)]
    assert sum(ada.is_signed_in(token) for token in tokens) == 1


def test_one_of_two_users_who_change_to_the_same_address_concurrently_succeeds(
    ada: ApiClient, crowded: Flask, mailbox: Mailbox
) -> None:
    grace = ApiClient(crowded)
    grace.register(GRACE, mailbox, password=PASSWORD)
    for number in range(ROUNDS):
        new_email = f"new{number}@example.org"
        if number % 2:
            ApiClient(crowded).sign_up(new_email)  # account pre-hijacking: another client registers it
        users = []
        for api, email in ((ada, ADA), (grace, GRACE)):
            token = api.signed_in(email, PASSWORD)["access_token"]
            api.ask_to_move(token, new_email, password=PASSWORD)
            users.append((api, token, mailbox.code_sent_to(new_email)))

        responses = together(*[partial(api.move, token, code) for api, token, code in users])

        assert Counter(map(outcome, responses)) == {OK: 1, (409, "email_taken"): 1}
        winner = users[[outcome(response) for response in responses].index(OK)]
        profile = winner[0].with_token(winner[1], "GET", "/me").get_json()["data"]
        assert profile["email"] == new_email
        # Restores the address for the next round.
        previous_email = ADA if winner[0] is ada else GRACE
        winner[0].ask_to_move(winner[1], previous_email, password=PASSWORD)
        assert winner[0].move(winner[1], mailbox.code_sent_to(previous_email)).status_code == 200


def test_one_of_two_concurrent_address_changes_of_one_user_succeeds(
    ada: ApiClient, crowded: Flask, mailbox: Mailbox, query: Query
) -> None:
    current_email = ADA
    for number in range(ROUNDS):
        changes = []
        for side in ("left", "right"):
            api, email = ApiClient(crowded), f"{side}{number}@example.org"
            token = api.signed_in(current_email, PASSWORD)["access_token"]
            api.ask_to_move(token, email, password=PASSWORD)
            changes.append((api, token, mailbox.code_sent_to(email), email))

        responses = together(*[partial(api.move, token, code) for api, token, code, _ in changes])

        assert Counter(map(outcome, responses)) == {OK: 1, (404, "code_expired"): 1}
        current_email = changes[[outcome(response) for response in responses].index(OK)][3]
        assert query("SELECT email FROM users") == [(current_email,)]
    assert query("SELECT count(*) FROM undos WHERE kind = 'email_changed'") == [(ROUNDS,)]


def test_cd2_one_of_twenty_concurrent_requests_with_the_right_code_changes_the_address(
    ada: ApiClient, crowded: Flask, mailbox: Mailbox, query: Query
) -> None:
    token = ada.signed_in(ADA, PASSWORD)["access_token"]
    ada.ask_to_move(token, NEW, password=PASSWORD)
    code = mailbox.code_sent_to(NEW)

    responses = at_once(20, lambda: ApiClient(crowded).move(token, code))

    assert Counter(map(outcome, responses)) == {OK: 1, (404, "code_expired"): 19}
    assert query("SELECT count(*) FROM letters WHERE kind = 'email_changed'") == [(1,)]


def test_an_address_registered_during_an_address_change_gets_one_user(
    ada: ApiClient, crowded: Flask, mailbox: Mailbox, query: Query
) -> None:
    """Either the registration or the address change succeeds; both users have verified the address."""
    for number in range(ROUNDS):
        new_email = f"new{number}@example.org"
        token = ada.signed_in(query("SELECT email FROM users ORDER BY created_at LIMIT 1")[0][0], PASSWORD)
        client = ApiClient(crowded)
        user_id = client.sign_up(new_email)
        client.ask_for_code(user_id, 7505)
        client.confirm(user_id, 7505)
        ada.ask_to_move(token["access_token"], new_email, password=PASSWORD)
        code = mailbox.code_sent_to(new_email)

        changed, registered = together(
            partial(ada.move, token["access_token"], code),
            partial(client.finish, user_id),
        )

        assert {outcome(changed), outcome(registered)} in (
            {OK, (409, "email_taken")},
            {OK, (404, "user_unknown")},
            {OK, (409, "mail_not_confirmed")},
        )
        assert query(f"SELECT count(*) FROM users WHERE email_key = '{new_email}'") == [(1,)]


@pytest.mark.parametrize("number", range(ROUNDS))
def test_az8_no_data_survives_a_deletion_with_concurrent_requests(
    ada: ApiClient, crowded: Flask, mailbox: Mailbox, query: Query, number: int
) -> None:
    """Requests of every kind run while the account is deleted or its user reverts a sign-in."""
    own, other, reused = (ApiClient(crowded).signed_in(ADA, PASSWORD) for _ in range(3))
    ada.refresh(ada.refresh(reused["refresh_token"]).get_json()["data"]["refresh_token"])
    revert_token = mailbox.undo_sent_to(ADA, about="device") if number % 2 else "nothing"

    deleted, refreshed, replayed, signed_in, *others = together(
        lambda: ada.leave(own["access_token"], password=PASSWORD),
        lambda: ApiClient(crowded).refresh(other["refresh_token"]),
        lambda: ApiClient(crowded).refresh(reused["refresh_token"]),
        lambda: ApiClient(crowded).sign_in(ADA, PASSWORD),
        lambda: ApiClient(crowded).ask_to_sign_in(ADA),
        lambda: ApiClient(crowded).ask_to_recover(ADA),
        lambda: ApiClient(crowded).ask_to_move(other["access_token"], NEW, password=PASSWORD),
        lambda: ApiClient(crowded).ask_to_leave(other["access_token"]),
        lambda: ApiClient(crowded).undo(revert_token),
    )

    assert {response.status_code for response in (deleted, refreshed, replayed, signed_in, *others)} <= {
        200,
        401,
        403,
        404,
        409,
    }
    assert outcome(deleted) == OK or outcome(others[-1]) == OK, "only the account revert may finish before the deletion"
    for tokens in (own, other, *tokens_of([refreshed, signed_in])):
        assert not ada.is_signed_in(tokens["access_token"]) or outcome(deleted) != OK
    if outcome(deleted) == OK:
        for table in ("users", "user_roles", "sessions", "undos", "email_changes"):
            assert query(f"SELECT count(*) FROM {table}") == [(0,)], table
        assert {kind for (kind,) in query("SELECT kind FROM letters WHERE state = 'waiting'")} == {"account_deleted"}


def test_one_of_several_concurrent_deletions_succeeds(
    ada: ApiClient, crowded: Flask, mailbox: Mailbox, query: Query
) -> None:
    tokens = [ApiClient(crowded).signed_in(ADA, PASSWORD)["access_token"] for _ in range(5)]
    remaining_tokens = iter(tokens)

    responses = at_once(5, lambda: ApiClient(crowded).leave(next(remaining_tokens), password=PASSWORD))

    outcomes = Counter(map(outcome, responses))
    assert outcomes[OK] == 1
    assert outcomes.keys() <= {OK, (401, "token_invalid"), (409, "account_changed")}
    assert query("SELECT count(*) FROM letters WHERE kind = 'account_deleted'") == [(1,)]
    assert query("SELECT count(*) FROM events WHERE kind = 'account_deleted'") == [(1,)]


def test_rl2_of_fifty_concurrent_wrong_passwords_five_are_verified(
    mailbox: Mailbox, api: ApiClient, make_app: Callable[..., Flask]
) -> None:
    app = make_app(web_threads=60, database_connections=25, hashes_at_once=4, limit_sign_ins="1000/1m")
    api.register(ADA, mailbox, password=PASSWORD)
    token = api.signed_in(ADA, PASSWORD)["access_token"]

    started_at = time.monotonic()
    responses = at_once(50, lambda: ApiClient(app).change_password(token, "a wrong password", f"{PASSWORD} 2"))
    seconds = time.monotonic() - started_at

    outcomes = Counter(map(outcome, responses))
    # Throttling blocks for one second after the fifth attempt and for two after the next, so a slow machine verifies
    # more attempts. An attempt that meets a busy hasher or database is not verified.
    assert 1 <= outcomes[403, "password_wrong"] <= 5 + int(math.log2(seconds + 1))
    assert outcomes.keys() <= {(403, "password_wrong"), (429, "too_many_attempts"), (503, "service_busy")}
    assert outcomes[429, "too_many_attempts"] >= 10


@pytest.mark.parametrize("purpose", ["email", "deletion"])
def test_cd3_of_fifty_concurrent_wrong_codes_five_are_verified(
    ada: ApiClient, crowded: Flask, mailbox: Mailbox, purpose: str
) -> None:
    token = ada.signed_in(ADA, PASSWORD)["access_token"]
    if purpose == "email":
        ada.ask_to_move(token, NEW, password=PASSWORD)
    else:
        ada.ask_to_leave(token)

    def send_wrong_code() -> Any:
        client = ApiClient(crowded)
        return client.move(token, "12345") if purpose == "email" else client.leave(token, code="12345")

    responses = at_once(50, send_wrong_code)

    assert Counter(map(outcome, responses)) == {(404, "code_wrong"): 5, (404, "code_expired"): 45}


def test_an_account_revert_waits_for_a_deletion_that_started_first(
    ada: ApiClient, crowded: Flask, mailbox: Mailbox, stores: Stores, query: Query
) -> None:
    """The deletion locked the user first and commits; only then is the revert token read."""
    ada.signed_in(ADA, PASSWORD)
    ApiClient(crowded).signed_in(ADA, PASSWORD)
    revert_token = mailbox.undo_sent_to(ADA, about="device")
    deleting = psycopg2.connect(stores.database_url.replace("+psycopg2", ""))

    with deleting.cursor() as cursor, ThreadPoolExecutor(1) as pool:
        cursor.execute("SELECT 1 FROM users FOR UPDATE")
        reverting = pool.submit(ApiClient(crowded).undo, revert_token)
        while query(LOCK_WAITS) == [(0,)]:
            assert not reverting.done()
        cursor.execute("DELETE FROM users")
        deleting.commit()
        response = reverting.result()
    deleting.close()

    assert outcome(response) == (404, "undo_unknown")
