"""Signature counters: copies of device-bound passkeys are detected, synced ones have no common counter (PK4)."""

import pytest
from flask import Flask

from tests.support.actors import ADA, ApiClient, Mailbox
from tests.support.authenticator import DEVICE_BOUND, SYNCED, Authenticator, Deviation
from tests.support.passkeys import SIGN_IN, PasskeyUser, begun, sign_in
from tests.support.races import outcome, together
from tests.support.stores import Query


def statuses(user: PasskeyUser, authenticator: Authenticator, *counters: int) -> list[int]:
    return [sign_in(user.api, authenticator, Deviation(counter=counter)).status_code for counter in counters]


@pytest.mark.parametrize("flags", [DEVICE_BOUND, SYNCED])
def test_pk4_an_authenticator_without_a_counter_is_always_accepted(user: PasskeyUser, flags: int) -> None:
    authenticator, _ = user.register(Authenticator(flags=flags))

    assert statuses(user, authenticator, 0, 0, 0) == [200, 200, 200]


def test_pk4_the_counter_of_a_synced_passkey_may_go_back_and_the_stored_value_only_grows(
    user: PasskeyUser, query: Query, mailbox: Mailbox
) -> None:
    authenticator, _ = user.register(Authenticator(counter=5))

    assert statuses(user, authenticator, 9, 3, 3, 0) == [200, 200, 200, 200]
    assert query("SELECT sign_count FROM passkeys") == [(9,)]
    assert query("SELECT count(*) FROM events WHERE kind = 'passkey_cloned'") == [(0,)]


def test_pk4_the_counter_of_a_device_bound_passkey_has_to_grow(
    user: PasskeyUser, query: Query, mailbox: Mailbox
) -> None:
    authenticator, _ = user.register(Authenticator(flags=DEVICE_BOUND, counter=5))
    assert statuses(user, authenticator, 6, 8) == [200, 200]

    for counter in (8, 7, 1, 0):
        answer = sign_in(user.api, authenticator, Deviation(counter=counter))
        assert outcome(answer) == (401, "passkey_rejected")

    assert query("SELECT sign_count FROM passkeys") == [(8,)]
    [(count, owner, target)] = query(
        "SELECT count(*), min(user_id), min(target_id) FROM events"
        " WHERE kind = 'passkey_cloned' AND outcome = 'failure'"
    )
    assert (count, owner) == (4, query("SELECT id FROM users")[0][0])
    assert target == user.list()[0]["id"]
    letters = [letter for letter in mailbox.letters_to(ADA) if "copied" in letter.subject]
    assert len(letters) == 1, "one email a day"
    assert statuses(user, authenticator, 9) == [200]


def test_pk4_a_copy_that_signs_at_the_same_moment_opens_no_second_session(
    crowded: Flask, user: PasskeyUser, query: Query
) -> None:
    authenticator, _ = user.register(Authenticator(flags=DEVICE_BOUND, counter=5))
    copy = authenticator.copy()

    def attempt(device: Authenticator) -> tuple[int, str]:
        api = ApiClient(crowded, cookies=False)
        data = begun(api.call("POST", f"{SIGN_IN}/options"))
        credential = device.get(data["options"], Deviation(counter=6))
        return outcome(api.call("POST", SIGN_IN, json={"credential": credential, "ticket": data["ticket"]}))

    outcomes = together(lambda: attempt(authenticator), lambda: attempt(copy))

    assert sorted(outcomes) == [(200, ""), (401, "passkey_rejected")]
    assert query("SELECT count(*) FROM sessions WHERE method = 'passkey'") == [(1,)]
    assert query("SELECT count(*) FROM events WHERE kind = 'passkey_cloned'") == [(1,)]


def test_pk4_a_copy_cannot_reauthenticate(user: PasskeyUser) -> None:
    authenticator, _ = user.register(Authenticator(flags=DEVICE_BOUND, counter=5))

    assert outcome(user.reauthenticate(authenticator)) == (401, "passkey_rejected")
    assert user.reauthenticate(authenticator, Deviation(counter=6)).status_code == 200


def test_the_backup_state_of_a_synced_passkey_is_kept_up_to_date(user: PasskeyUser, query: Query) -> None:
    authenticator, _ = user.register(Authenticator(flags=SYNCED & ~0x10))
    assert query("SELECT backed_up FROM passkeys") == [(False,)]

    sign_in(user.api, authenticator, Deviation(flags=SYNCED))

    assert query("SELECT backed_up FROM passkeys") == [(True,)]
