"""Passkeys when an account is deleted, exported or taken back; discovery documents (PK7, PK8)."""

import pytest
from flask import Flask

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.application import MakeApp
from tests.support.authenticator import Authenticator
from tests.support.passkeys import PasskeyUser, by_password, sign_in
from tests.support.races import outcome
from tests.support.stores import Query

WELL_KNOWN = "/.well-known"
NEW = "new@example.org"


def test_pk7_a_deleted_account_has_no_passkeys(user: PasskeyUser, passkey: Authenticator, query: Query) -> None:
    assert user.api.leave(user.token, password=PASSWORD).status_code == 200

    assert query("SELECT count(*) FROM passkeys") == [(0,)]
    assert outcome(sign_in(user.api, passkey)) == (401, "credential_unknown")


def test_pk7_an_account_revert_removes_the_passkey_of_the_attacker_only(
    app: Flask, user: PasskeyUser, passkey: Authenticator, mailbox: Mailbox, query: Query
) -> None:
    query("UPDATE passkeys SET created_at = now() - interval '1 hour' RETURNING 1")
    attacker, _ = by_password(ApiClient(app, address="198.51.100.9")).register()

    assert user.api.undo(mailbox.undo_sent_to(ADA, about="new device")).status_code == 200

    assert outcome(sign_in(user.api, attacker)) == (401, "credential_unknown")
    assert sign_in(user.api, passkey).status_code == 200


def test_pk7_the_link_about_a_changed_address_removes_what_was_added_since_the_sign_in_before(
    app: Flask, user: PasskeyUser, passkey: Authenticator, mailbox: Mailbox, query: Query
) -> None:
    query("UPDATE passkeys SET created_at = now() - interval '1 hour' RETURNING 1")
    attack = by_password(ApiClient(app, address="198.51.100.9"))
    attacker, _ = attack.register()
    assert attack.api.ask_to_move(attack.token, NEW, password=PASSWORD).status_code == 200
    assert attack.api.move(attack.token, mailbox.code_sent_to(NEW)).status_code == 200

    assert user.api.undo(mailbox.undo_sent_to(ADA, about="address")).status_code == 200

    assert outcome(sign_in(user.api, attacker)) == (401, "credential_unknown")
    assert sign_in(user.api, passkey).status_code == 200


def test_a_passkey_is_exported_without_its_keys(user: PasskeyUser) -> None:
    _, added = user.register(name="Laptop")

    answer = user.call("GET", "/me/export")

    [exported] = answer.get_json()["data"]["passkeys"]
    assert exported == {
        "id": added["id"],
        "name": "Laptop",
        "aaguid": "d548826e-79b4-db40-a3d8-11116f7e8349",
        "synced": True,
        "transports": ["internal", "hybrid"],
        "created_at": added["created_at"],
        "last_used_at": None,
    }
    assert "public_key" not in answer.text


def test_pk8_passkey_endpoints_and_the_change_password_url_point_to_the_front_end(make_app: MakeApp) -> None:
    client = make_app(front_end_url="https://portal.example.org/account/").test_client()
    page = "https://portal.example.org/account/security"

    endpoints = client.get(f"{WELL_KNOWN}/passkey-endpoints")
    change = client.get(f"{WELL_KNOWN}/change-password")

    assert (endpoints.status_code, endpoints.get_json()) == (200, {"enroll": page, "manage": page})
    assert endpoints.content_type == "application/json"
    assert (change.status_code, change.headers["Location"]) == (302, page)


def test_pk8_without_a_front_end_there_are_no_pages_to_find(app: Flask) -> None:
    for name in ("passkey-endpoints", "change-password", "webauthn"):
        answer = app.test_client().get(f"{WELL_KNOWN}/{name}")
        assert (answer.status_code, refusal(answer)["code"]) == (404, "path_unknown")


@pytest.mark.parametrize(
    ("origins", "expected"),
    [
        (("https://app.localhost",), None),
        (
            ("https://other.example",),
            ["http://127.0.0.1:5000", "http://localhost:5000", "https://other.example"],
        ),
    ],
)
def test_pk8_related_origins_are_listed_if_another_site_uses_the_passkeys(
    make_app: MakeApp, origins: tuple[str, ...], expected: list[str] | None
) -> None:
    answer = make_app(webauthn_origins=origins).test_client().get(f"{WELL_KNOWN}/webauthn")

    if expected is None:
        assert answer.status_code == 404
    else:
        assert (answer.status_code, answer.get_json()) == (200, {"origins": expected})
