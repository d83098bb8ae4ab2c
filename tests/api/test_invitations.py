"""Invitations: create, list, send again and revoke them, with roles that the inviter may grant, within the limits."""

from typing import Any

import pytest

from auth_service.models.permission import Permission
from tests.support.actors import ADA, ApiClient, Mailbox
from tests.support.administration import AdminClient, Administration
from tests.support.invitations import invited
from tests.support.stores import Query

UNKNOWN = "/invitations/00000000-0000-4000-8000-000000000000"


def events(query: Query) -> list[Any]:
    return query(
        "SELECT kind, actor_type, actor_id, target_type, target_id, details -> 'changes' FROM events"
        " WHERE kind LIKE 'invitation.%' ORDER BY id"
    )


def test_ad7_an_administrator_invites_a_person_and_the_link_is_in_the_email_only(
    admin: AdminClient, administration: Administration, mailbox: Mailbox, query: Query
) -> None:
    administration.role("ROLE_EDITOR", "films:edit")

    answer = admin.call("POST", "/invitations", json={"email": "Ada@Example.org", "roles": ["ROLE_EDITOR"]})

    assert answer.status_code == 201
    data = answer.get_json()["data"]
    assert data.keys() == {"id", "email", "roles", "state", "expires_at"}
    assert (data["email"], data["roles"], data["state"]) == ("Ada@example.org", ["ROLE_EDITOR"], "open")
    token = mailbox.invitation_sent_to("Ada@example.org")
    assert len(token) == 43, "256 bits in base64url"
    assert token not in answer.text
    [(row,)] = query("SELECT i::text FROM invitations i")
    assert token not in row
    [(left,)] = query("SELECT extract(epoch FROM expires_at - now())::int / 60 FROM invitations")
    assert left in (7 * 24 * 60 - 1, 7 * 24 * 60)
    changes = {"state": [None, "open"], "roles": [[], ["ROLE_EDITOR"]]}
    assert events(query) == [("invitation.created", "user", str(admin.user_id), "invitation", data["id"], changes)]


@pytest.mark.parametrize(
    ("body", "language", "subject"),
    [
        ({}, "ru", "Приглашение в «Portal»"),
        ({"language": "en"}, "ru", "An invitation to Portal"),
        ({"language": "ru"}, "en", "Приглашение в «Portal»"),
    ],
)
def test_ad7_the_email_is_in_the_chosen_language_or_that_of_the_request(
    admin: AdminClient, mailbox: Mailbox, body: dict[str, str], language: str, subject: str
) -> None:
    answer = admin.call("POST", "/invitations", json={"email": ADA, **body}, headers={"Accept-Language": language})

    assert answer.status_code == 201
    assert [message.subject for message in mailbox.letters_to(ADA)] == [subject]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "email"),
        ({"email": "ada"}, "email"),
        ({"email": ADA, "roles": ["EDITOR"]}, "roles.0"),
        ({"email": ADA, "roles": None}, "roles"),
        ({"email": ADA, "language": "tlh"}, "language"),
        ({"email": ADA, "state": "open"}, "state"),
    ],
)
def test_ad7_an_invalid_invitation_is_rejected_by_field(admin: AdminClient, body: dict[str, Any], field: str) -> None:
    answer = admin.call("POST", "/invitations", json=body)

    assert answer.status_code == 422
    assert [error["field"] for error in answer.get_json()["error"]["fields"]] == [field]


def test_ad7_a_confirmed_user_cannot_be_invited_and_a_temporary_user_can(
    admin: AdminClient, api: ApiClient, mailbox: Mailbox
) -> None:
    api.register(ADA, mailbox)
    api.sign_up("grace@example.org")

    assert admin.error("POST", "/invitations", json={"email": ADA.upper()}) == (409, "email_taken")
    invited(admin, "grace@example.org")


def test_ad7_an_address_has_one_open_invitation_also_after_it_has_expired(admin: AdminClient, query: Query) -> None:
    first = invited(admin)

    answer = admin.call("POST", "/invitations", json={"email": ADA.upper()})
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (409, "invitation_open")
    assert answer.get_json()["error"]["id"] == first
    query("UPDATE invitations SET expires_at = now() - interval '1 second'")
    assert admin.error("POST", "/invitations", json={"email": ADA}) == (409, "invitation_open")

    admin.data("DELETE", f"/invitations/{first}")
    assert invited(admin) != first


def test_ad7_r1_an_inviter_can_invite_only_to_roles_whose_permissions_the_inviter_has(
    administration: Administration, query: Query
) -> None:
    administration.role("ROLE_EDITOR", "films:edit")
    administration.role("ROLE_BANNER", "users:ban")
    inviter = administration.with_permissions("inviter@example.org", "users:invite", "films:edit")

    def refused(*roles: str) -> tuple[int, str]:
        return inviter.error("POST", "/invitations", json={"email": ADA, "roles": roles})

    assert refused("ROLE_BANNER") == refused("ROLE_EDITOR", "ROLE_BANNER") == (403, "beyond_your_own")
    assert refused("ROLE_PORTAL_ADMIN") == (403, "beyond_your_own")
    assert refused("ROLE_UNKNOWN") == (404, "role_unknown")
    assert refused("ROLE_PORTAL_USER") == refused("ROLE_TEMPORARY_USER") == (409, "role_is_system")
    assert query("SELECT 1 FROM invitations") == []
    invited(inviter, roles=["ROLE_EDITOR", "ROLE_EDITOR"])
    assert query("SELECT roles FROM invitations") == [(["ROLE_EDITOR"],)]


def test_ad7_a_service_key_invites_but_never_an_administrator(administration: Administration, query: Query) -> None:
    service = administration.service(*(permission.value for permission in Permission))

    refused = service.error("POST", "/invitations", json={"email": ADA, "roles": ["ROLE_PORTAL_ADMIN"]})
    assert refused == (403, "beyond_your_own")
    invited(service)
    [(inviter,)] = query("SELECT invited_by FROM invitations")
    assert inviter.startswith("service:")


def test_ad7_an_invitation_has_at_most_as_many_roles_as_a_user_can_get(admin: AdminClient, query: Query) -> None:
    query("INSERT INTO roles (name) SELECT 'ROLE_N' || n FROM generate_series(10, 29) n")
    roles = [f"ROLE_N{number}" for number in range(10, 30)]

    assert admin.error("POST", "/invitations", json={"email": ADA, "roles": roles}) == (409, "limit_reached")
    invited(admin, roles=roles[:19])


def test_ad7_invitations_are_listed_by_state_in_pages_with_a_cursor_of_the_caller_and_the_state(
    admin: AdminClient, administration: Administration, mailbox: Mailbox, query: Query
) -> None:
    ids = [invited(admin, f"a{number}@example.org") for number in range(4)]
    admin.data("DELETE", f"/invitations/{ids[0]}")
    query("UPDATE invitations SET expires_at = now() WHERE id = %s", ids[1])
    token = mailbox.invitation_sent_to("a2@example.org")
    assert admin.call("POST", "/users/invitation/accept", json={"token": token}).status_code == 200

    def listed(state: str = "") -> list[tuple[str, str]]:
        path = f"/invitations?state={state}" if state else "/invitations"
        return [(each["id"], each["state"]) for each in admin.data("GET", path)]

    states = ["revoked", "expired", "accepted", "open"]
    assert listed() == list(zip(ids, states, strict=True))[::-1]
    for number, state in enumerate(states):
        assert listed(state) == [(ids[number], state)]
    first = admin.call("GET", "/invitations?limit=3").get_json()
    invited(admin, "later@example.org")
    cursor = first["next_cursor"]
    second = admin.call("GET", f"/invitations?limit=3&cursor={cursor}").get_json()
    assert [each["id"] for each in first["data"] + second["data"]] == ids[::-1]
    assert second["next_cursor"] is None
    assert admin.error("GET", f"/invitations?state=open&cursor={cursor}") == (422, "validation_failed")
    other = administration.administrator("other@example.org")
    assert other.error("GET", f"/invitations?cursor={cursor}") == (422, "validation_failed")
    assert admin.error("GET", "/invitations?state=lost") == (422, "validation_failed")


def test_ad7_a_revoked_invitation_cannot_be_accepted_and_its_waiting_email_is_withdrawn(
    admin: AdminClient, administration: Administration, mailbox: Mailbox, api: ApiClient, query: Query
) -> None:
    invitation = invited(admin)
    token = mailbox.invitation_sent_to(ADA)

    assert admin.call("DELETE", f"/invitations/{invitation}").get_json() == {"success": True, "result": "Ok"}
    assert admin.call("DELETE", f"/invitations/{invitation}").status_code == 200
    assert api.call("POST", "/invitation", json={"token": token}).status_code == 404
    assert api.call("POST", "/invitation/accept", json={"token": token}).status_code == 404
    recorded = [(kind, changes) for kind, _, _, _, _, changes in events(query)]
    assert recorded[1:] == [("invitation.revoked", {"state": ["open", "revoked"]})]

    admin.data("DELETE", f"/invitations/{invited(admin, 'grace@example.org')}")
    assert mailbox.letters_to("grace@example.org") == []
    assert admin.error("DELETE", UNKNOWN) == (404, "invitation_unknown")
    assert admin.error("POST", f"{UNKNOWN}/resend") == (404, "invitation_unknown")
    assert admin.error("POST", f"/invitations/{invitation}/resend") == (404, "invitation_unknown")


def test_ad7_an_accepted_invitation_can_neither_be_revoked_nor_sent_again(
    admin: AdminClient, mailbox: Mailbox, api: ApiClient
) -> None:
    invitation = invited(admin)
    assert api.call("POST", "/invitation/accept", json={"token": mailbox.invitation_sent_to(ADA)}).status_code == 200

    assert admin.error("DELETE", f"/invitations/{invitation}") == (404, "invitation_unknown")
    assert admin.error("POST", f"/invitations/{invitation}/resend") == (404, "invitation_unknown")


def test_ad7_resend_invalidates_the_earlier_link_and_works_after_expiry(
    admin: AdminClient, mailbox: Mailbox, api: ApiClient, query: Query
) -> None:
    invitation = invited(admin)
    earlier = mailbox.invitation_sent_to(ADA)
    query("UPDATE invitations SET expires_at = now() - interval '1 second'")
    assert api.call("POST", "/invitation", json={"token": earlier}).status_code == 404

    sent = admin.data("POST", f"/invitations/{invitation}/resend")

    assert sent == {"expires_in": 604800, "resend_after": 0}
    token = mailbox.invitation_sent_to(ADA)
    assert token != earlier
    for path in ("/invitation", "/invitation/accept"):
        answer = api.call("POST", path, json={"token": earlier})
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "invitation_unknown")
    assert api.call("POST", "/invitation/accept", json={"token": token}).status_code == 200
    recorded = [(kind, changes) for kind, _, _, _, _, changes in events(query)]
    assert recorded[1] == ("invitation.resent", {"state": ["expired", "open"]})


def test_ad7_the_email_of_a_link_that_was_replaced_before_it_was_sent_is_withdrawn(
    admin: AdminClient, mailbox: Mailbox
) -> None:
    invitation = invited(admin)
    admin.data("POST", f"/invitations/{invitation}/resend")

    assert len(mailbox.letters_to(ADA)) == 1


def test_ad7_an_invitation_of_a_user_who_has_registered_meanwhile_is_not_sent_again(
    admin: AdminClient, mailbox: Mailbox, api: ApiClient
) -> None:
    invitation = invited(admin)
    api.register(ADA, mailbox)

    assert admin.error("POST", f"/invitations/{invitation}/resend") == (409, "email_taken")


def test_lg1_no_audit_event_of_an_invitation_contains_the_address_or_the_token(
    admin: AdminClient, mailbox: Mailbox, api: ApiClient, query: Query
) -> None:
    canary = "canary-of-the-invitation@example.org"
    invitation = invited(admin, canary)
    earlier = mailbox.invitation_sent_to(canary)
    admin.data("POST", f"/invitations/{invitation}/resend")
    token = mailbox.invitation_sent_to(canary)
    api.call("POST", "/invitation/accept", json={"token": token})
    admin.data("DELETE", f"/invitations/{invited(admin, 'second-' + canary)}")

    recorded = str(query("SELECT e::text FROM events e WHERE kind LIKE 'invitation.%' OR target_type IS NOT NULL"))
    assert recorded.count("invitation.") == 5
    assert not [secret for secret in ("canary", earlier, token) if secret in recorded]
