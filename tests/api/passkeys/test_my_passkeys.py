"""The passkeys of a user: add, list, rename, remove; unique over all users, and recorded (PK1, PK5, PK7, PK8)."""

import uuid
from typing import Any

import pytest
from flask import Flask

from auth_service.adapters.crypto.keys import base64url
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.authenticator import DEVICE_BOUND, Authenticator, Deviation
from tests.support.passkeys import MINE, PasskeyUser, by_password, sign_in
from tests.support.races import outcome, together
from tests.support.stores import Query

GRACE = "grace@example.org"
UNKNOWN = uuid.UUID("7f9c2ba4-e88f-4a3c-9d1c-5a1f0e6d3b21")


@pytest.fixture
def grace(app: Flask, mailbox: Mailbox) -> PasskeyUser:
    """Another user."""
    api = ApiClient(app)
    api.register(GRACE, mailbox, password=PASSWORD)
    return by_password(api, GRACE)


def test_pk1_a_passkey_is_added_listed_renamed_and_removed(user: PasskeyUser) -> None:
    authenticator, added = user.register(name="  Laptop ")

    listed = {name: value for name, value in added.items() if name != "signal"}
    assert user.list() == [listed]
    assert (added["name"], added["provider"], added["synced"], added["last_used_at"]) == (
        *("Laptop", "Bitwarden"),
        *(True, None),
    )
    renamed = user.call("PATCH", f"{MINE}/{added['id']}", json={"name": "Old laptop"}).get_json()["data"]
    assert renamed == {**listed, "name": "Old laptop"}
    removed = user.call("DELETE", f"{MINE}/{added['id']}").get_json()["data"]
    assert removed == {"signal": {**added["signal"], "credential_ids": []}}
    assert user.list() == []
    assert outcome(sign_in(user.api, authenticator)) == (401, "credential_unknown")
    assert "access_token" not in added
    assert "recovery_codes" not in added


def test_pk1_without_a_name_a_passkey_is_called_after_its_provider_or_device(user: PasskeyUser) -> None:
    listed = Deviation(response={})
    assert user.register()[1]["name"] == "Bitwarden"
    unknown = Authenticator(flags=DEVICE_BOUND, aaguid=bytes(16))
    answer = user.try_to_register(unknown, listed).get_json()["data"]
    assert (answer["provider"], answer["synced"]) == (None, False)
    assert answer["name"] == "unknown device"


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "a\nb", "a\0b", 1, None])
def test_a_name_is_a_short_printable_text(user: PasskeyUser, name: Any) -> None:
    _, added = user.register()

    answer = user.call("PATCH", f"{MINE}/{added['id']}", json={"name": name})

    assert outcome(answer) == (422, "validation_failed")


def test_pk8_the_user_handle_is_random_and_the_same_for_all_passkeys(
    user: PasskeyUser, grace: PasskeyUser, ada: int
) -> None:
    options = [user.begin()["options"] for _ in range(2)]
    _, added = user.register()

    handles = {each["user"]["id"] for each in options} | {added["signal"]["user_handle"]}
    assert len(handles) == 1
    (handle,) = handles
    assert len(handle) == 43
    assert handle != grace.begin()["options"]["user"]["id"]
    for known in (str(ada).encode(), ada.to_bytes(8), ADA.encode()):
        assert base64url(known).rstrip("=") not in handle
    assert options[0]["user"]["name"] == ADA
    assert added["signal"]["rp_id"] == options[0]["rp"]["id"] == "localhost"


def test_pk1_the_options_exclude_the_existing_passkeys(user: PasskeyUser) -> None:
    authenticator, _ = user.register()

    excluded = user.begin()["options"]["excludeCredentials"]

    expected = {
        "type": "public-key",
        "id": base64url(authenticator.credential_id),
        "transports": ["internal", "hybrid"],
    }
    assert excluded == [expected]


def test_fd5_a_credential_id_belongs_to_one_user(user: PasskeyUser, grace: PasskeyUser, query: Query) -> None:
    authenticator, _ = user.register()

    assert outcome(grace.try_to_register(authenticator.copy())) == (409, "passkey_taken")
    assert outcome(user.try_to_register(authenticator)) == (409, "passkey_taken")
    assert query("SELECT count(*) FROM passkeys") == [(1,)]


def test_pk5_of_two_users_who_register_one_credential_id_at_once_one_succeeds(
    user: PasskeyUser, grace: PasskeyUser, no_deadlock: None
) -> None:
    authenticator = Authenticator()

    outcomes = together(
        lambda: outcome(user.try_to_register(authenticator.copy())),
        lambda: outcome(grace.try_to_register(authenticator.copy())),
    )

    assert sorted(outcomes) == [(201, ""), (409, "passkey_taken")]


def test_pk5_the_passkey_of_another_user_is_unknown(user: PasskeyUser, grace: PasskeyUser) -> None:
    _, added = user.register()

    for passkey_id in (added["id"], UNKNOWN):
        assert outcome(grace.call("PATCH", f"{MINE}/{passkey_id}", json={"name": "Mine"})) == (404, "passkey_unknown")
        assert outcome(grace.call("DELETE", f"{MINE}/{passkey_id}")) == (404, "passkey_unknown")
    assert [each["name"] for each in user.list()] == ["Bitwarden"]


def test_a_user_has_at_most_ten_passkeys_also_at_once(user: PasskeyUser, query: Query) -> None:
    for _ in range(9):
        user.register()
    pending = [user.begin() for _ in range(2)]
    bodies = [{"credential": Authenticator().create(data["options"]), "ticket": data["ticket"]} for data in pending]

    outcomes = together(*(lambda body=body: outcome(user.call("POST", MINE, json=body)) for body in bodies))

    assert sorted(outcomes) == [(201, ""), (409, "limit_reached")]
    answer = user.call("POST", f"{MINE}/options")
    assert (answer.status_code, refusal(answer)["limit"]) == (409, 10)


def test_changes_are_recorded_and_emailed(user: PasskeyUser, query: Query, mailbox: Mailbox) -> None:
    _, added = user.register()
    user.call("PATCH", f"{MINE}/{added['id']}", json={"name": "Laptop"})
    user.call("DELETE", f"{MINE}/{added['id']}")

    events = query("SELECT kind, target_type, target_id FROM events WHERE kind LIKE 'passkey%%' ORDER BY id")
    assert events == [(f"passkey_{what}", "passkey", added["id"]) for what in ("added", "renamed", "removed")]
    subjects = [letter.subject for letter in mailbox.letters_to(ADA)]
    assert sum("was added" in subject for subject in subjects) == 1
    assert sum("was removed" in subject for subject in subjects) == 1


@pytest.mark.parametrize(("method", "path"), [("POST", f"{MINE}/options"), ("DELETE", f"{MINE}/{UNKNOWN}")])
def test_se3_changes_need_a_recent_authentication(user: PasskeyUser, query: Query, method: str, path: str) -> None:
    query("UPDATE sessions SET authenticated_at = now() - interval '601 seconds' RETURNING 1")

    answer = user.call(method, path)

    assert outcome(answer) == (401, "insufficient_user_authentication")
    assert refusal(answer)["methods"] == ["password", "code"]
