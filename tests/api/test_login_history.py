"""Login history: pages of the audit log for its user only, in a stable order."""

import base64
import json

import pytest
from flask import Flask

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.login_history import kinds, read
from tests.support.stores import Query

GRACE = "grace@example.org"


@pytest.mark.clock
def test_in8_pages_are_capped_and_in_a_stable_order(token: str, api: ApiClient, ada: int, query: Query) -> None:
    query(
        "INSERT INTO events (at, user_id, kind, outcome, device, details)"
        " SELECT now() - (number || ' days')::interval, %s, 'signed_in', 'success', number::text, '{}'"
        " FROM generate_series(1, 118) AS number",
        ada,
    )
    all_devices = [row[0] for row in query("SELECT device FROM events WHERE user_id = %s ORDER BY id DESC", ada)]

    first_page = read(api, token).get_json()
    assert len(first_page["data"]) == 20
    devices: list[str] = []
    cursor: str | None = None
    sizes = []
    while True:
        page = read(api, token, limit=50, **({"cursor": cursor} if cursor else {})).get_json()
        sizes.append(len(page["data"]))
        devices += [entry["device"] for entry in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert sizes == [50, 50, 20]
    assert devices == all_devices
    assert read(api, token, limit=1).get_json()["data"] == first_page["data"][:1]


def test_in8_an_exactly_full_last_page_has_no_next_cursor(token: str, api: ApiClient) -> None:
    page = read(api, token, limit=2).get_json()

    assert [entry["kind"] for entry in page["data"]] == ["signed_in", "registered"]
    assert page["next_cursor"] is None


@pytest.mark.parametrize(
    "limit",
    ["0", "51", "-1", "+1", "1.0", "1e1", " 1", "1 ", "", "٣", "５", "true", "9" * 30, "9" * 3000, "0x1", "05", "00",
     "1_0", "-0", "1\n"],
)  # fmt: skip
def test_in8_an_invalid_limit_is_rejected(token: str, api: ApiClient, limit: str) -> None:
    response = read(api, token, limit=limit)

    assert (response.status_code, refusal(response)["code"]) == (422, "validation_failed")
    assert refusal(response)["fields"][0]["field"] == "limit"


@pytest.mark.parametrize("cursor", ["", "x", "1", "=" * 50, "é", "A" * 256, "A" * 257, "%00", "AAAA" * 20])
def test_in8_an_invalid_cursor_is_rejected(token: str, api: ApiClient, cursor: str) -> None:
    response = read(api, token, cursor=cursor)

    assert (response.status_code, refusal(response)["code"]) == (422, "validation_failed")
    assert refusal(response)["fields"][0]["field"] == "cursor"


def test_az2_the_cursor_of_another_user_is_rejected(
    token: str, api: ApiClient, app: Flask, mailbox: Mailbox, ada: int
) -> None:
    other = ApiClient(app)
    other.register(GRACE, mailbox, password=PASSWORD)
    other_token = other.signed_in(GRACE, PASSWORD)["access_token"]
    cursor = read(other, other_token, limit=1).get_json()["next_cursor"]
    assert cursor is not None

    assert read(api, token, cursor=cursor).status_code == 422
    tampered = ("A" if cursor[9] != "A" else "B").join((cursor[:9], cursor[10:]))
    assert read(other, other_token, cursor=tampered).status_code == 422
    assert [entry["kind"] for entry in read(other, other_token, cursor=cursor).get_json()["data"]] == ["registered"]


def test_a_cursor_does_not_reveal_the_number_of_events_of_other_users(token: str, api: ApiClient, query: Query) -> None:
    cursor = read(api, token, limit=1).get_json()["next_cursor"]
    [(position,)] = query("SELECT max(id) FROM events")

    sealed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    assert str(position).encode() not in sealed
    assert json.dumps({"before": position}).encode() not in sealed


def test_az2_a_user_reads_only_their_own_login_history(
    token: str, api: ApiClient, app: Flask, mailbox: Mailbox
) -> None:
    other = ApiClient(app)
    other.register(GRACE, mailbox, password=PASSWORD)
    other_token = other.signed_in(GRACE, PASSWORD)["access_token"]
    api.sign_in(ADA, "a wrong password")
    api.sign_in("unknown@example.org", "a wrong password")

    assert kinds(api, token) == ["sign_in_refused", "signed_in", "registered"]
    assert kinds(other, other_token) == ["signed_in", "registered"]
    assert api.call("GET", "/me/login_history").status_code == 401
    assert api.with_token(token, "GET", "/me/login_history?user_id=1").status_code == 422
