"""Races of invitations: a link works once, revocation and acceptance exclude each other, an address is invited once."""

from collections import Counter
from functools import partial
from typing import Any

import pytest
from flask import Flask

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox
from tests.support.administration import AdminClient, Administration
from tests.support.races import at_once, outcome, together
from tests.support.stores import Query

pytestmark = pytest.mark.slow

EDITOR = "ROLE_EDITOR"
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


@pytest.fixture
def administration(crowded: Flask, mailbox: Mailbox) -> Administration:
    return Administration(crowded, mailbox)


@pytest.fixture
def service(administration: Administration) -> AdminClient:
    """A service that invites: requests of services need no recent authentication."""
    administration.role(EDITOR, "films:edit")
    return administration.service("users:invite", "films:edit")


def invited(service: AdminClient, mailbox: Mailbox, email: str = ADA) -> tuple[str, str]:
    """The id and the token of a new invitation."""
    invitation = service.data("POST", "/invitations", json={"email": email, "roles": [EDITOR]}, status=201)
    return invitation["id"], mailbox.invitation_sent_to(email)


def accept(app: Flask, token: str, **body: str) -> Any:
    return ApiClient(app).call("POST", "/invitation/accept", json={"token": token, **body})


def emails_of_users(query: Query) -> list[str]:
    return [email for (email,) in query("SELECT email FROM users ORDER BY email")]


def test_ad7_fifty_concurrent_acceptances_make_one_user(
    crowded: Flask, service: AdminClient, mailbox: Mailbox, query: Query
) -> None:
    _, token = invited(service, mailbox)

    answers = at_once(50, lambda: accept(crowded, token))

    assert Counter(map(outcome, answers)) == {(200, ""): 1, (404, "invitation_unknown"): 49}
    assert emails_of_users(query) == [ADA]
    kinds = query("SELECT kind, count(*) FROM events WHERE user_id IS NOT NULL GROUP BY kind ORDER BY kind")
    assert kinds == [("invitation.accepted", 1), ("registered", 1), ("role.granted", 1)]


def test_ad7_of_concurrent_acceptances_with_passwords_that_of_the_successful_one_is_set(
    crowded: Flask, service: AdminClient, mailbox: Mailbox
) -> None:
    _, token = invited(service, mailbox)
    passwords = [f"{PASSWORD} {number}" for number in range(6)]

    answers = together(*(partial(accept, crowded, token, password=password) for password in passwords))

    assert Counter(map(outcome, answers)) == {(200, ""): 1, (404, "invitation_unknown"): 5}
    signed_in = [ApiClient(crowded).sign_in(ADA, password).status_code == 200 for password in passwords]
    assert signed_in == [answer.status_code == 200 for answer in answers]


def test_ad7_fifty_concurrent_acceptances_of_a_temporary_user_confirm_it_once(
    crowded: Flask, service: AdminClient, mailbox: Mailbox, query: Query
) -> None:
    user_id = ApiClient(crowded).sign_up(ADA)
    _, token = invited(service, mailbox)

    answers = at_once(50, lambda: accept(crowded, token))

    assert Counter(map(outcome, answers)) == {(200, ""): 1, (404, "invitation_unknown"): 49}
    assert query("SELECT id, verified_mail FROM users") == [(user_id, True)]
    assert sorted(query("SELECT role FROM user_roles")) == [(EDITOR,), ("ROLE_PORTAL_USER",)]


def test_ad7_of_revocation_and_acceptance_one_wins_completely(
    crowded: Flask, service: AdminClient, mailbox: Mailbox, query: Query
) -> None:
    before = query(DEADLOCKS)
    winners = Counter[str]()
    for number in range(20):
        email = f"a{number}@example.org"
        invitation, token = invited(service, mailbox, email)

        accepted, revoked = together(
            partial(accept, crowded, token),
            partial(service.call, "DELETE", f"/invitations/{invitation}"),
        )

        outcomes = (outcome(accepted), outcome(revoked))
        state = query(
            "SELECT accepted_at IS NOT NULL, revoked_at IS NOT NULL FROM invitations WHERE id = %s", invitation
        )
        if accepted.status_code == 200:
            winners["accepted"] += 1
            assert outcomes == ((200, ""), (404, "invitation_unknown"))
            assert state == [(True, False)]
            assert email in emails_of_users(query)
        else:
            winners["revoked"] += 1
            assert outcomes == ((404, "invitation_unknown"), (200, ""))
            assert state == [(False, True)]
            assert email not in emails_of_users(query)
    assert winners.total() == 20
    query("SELECT pg_stat_force_next_flush()")
    assert query(DEADLOCKS) == before


def test_ad7_of_resend_and_acceptance_of_the_earlier_link_one_wins_completely(
    crowded: Flask, service: AdminClient, mailbox: Mailbox, query: Query
) -> None:
    for number in range(10):
        email = f"a{number}@example.org"
        invitation, token = invited(service, mailbox, email)

        accepted, resent = together(
            partial(accept, crowded, token),
            partial(service.call, "POST", f"/invitations/{invitation}/resend"),
        )

        if accepted.status_code == 200:
            # The email of the user was read before the acceptance, or the user is confirmed already.
            assert outcome(resent) in ((404, "invitation_unknown"), (409, "email_taken"))
            assert email in emails_of_users(query)
        else:
            assert (outcome(accepted), outcome(resent)) == ((404, "invitation_unknown"), (200, ""))
            assert accept(crowded, mailbox.invitation_sent_to(email)).status_code == 200


def test_ad7_of_acceptance_and_registration_by_code_one_confirms_the_user(
    crowded: Flask, service: AdminClient, mailbox: Mailbox, query: Query
) -> None:
    before = query(DEADLOCKS)
    for number in range(10):
        email = f"a{number}@example.org"
        api = ApiClient(crowded)
        user_id = api.sign_up(email)
        api.ask_for_code(user_id, 7505)
        api.confirm(user_id, 7505)
        _, token = invited(service, mailbox, email)

        accepted, finished = together(
            partial(accept, crowded, token),
            partial(api.finish, user_id, password=PASSWORD),
        )

        outcomes = (outcome(accepted), outcome(finished))
        assert outcomes in (((200, ""), (409, "mail_not_confirmed")), ((409, "email_taken"), (200, "")))
        registered = query("SELECT count(*) FROM events WHERE kind = 'registered' AND user_id = %s", user_id)
        assert registered == [(1,)]
    query("SELECT pg_stat_force_next_flush()")
    assert query(DEADLOCKS) == before


def test_ad7_concurrent_acceptance_and_sign_up_make_one_user(
    crowded: Flask, service: AdminClient, mailbox: Mailbox, query: Query
) -> None:
    for number in range(10):
        email = f"a{number}@example.org"
        _, token = invited(service, mailbox, email)

        accepted, signed_up = together(
            partial(accept, crowded, token),
            partial(ApiClient(crowded).try_to_sign_up, email),
        )

        assert accepted.status_code == 200, accepted.text
        assert outcome(signed_up) in ((201, ""), (409, "email_taken"))
        assert query("SELECT verified_mail FROM users WHERE email = %s", email) == [(True,)]


def test_ad7_fifty_concurrent_invitations_of_one_address_make_one(
    service: AdminClient, mailbox: Mailbox, query: Query
) -> None:
    answers = at_once(50, lambda: service.call("POST", "/invitations", json={"email": ADA}))

    assert Counter(map(outcome, answers)) == {(201, ""): 1, (409, "invitation_open"): 49}
    assert query("SELECT count(*) FROM invitations") == [(1,)]
    assert len(mailbox.letters_to(ADA)) == 1


def test_ad7_concurrent_revocations_are_recorded_once(service: AdminClient, mailbox: Mailbox, query: Query) -> None:
    invitation, _ = invited(service, mailbox)

    answers = at_once(20, lambda: service.call("DELETE", f"/invitations/{invitation}"))

    assert {outcome(answer) for answer in answers} == {(200, "")}
    assert query("SELECT count(*) FROM events WHERE kind = 'invitation.revoked'") == [(1,)]


def test_ad7_a_role_that_is_deleted_during_the_acceptance_is_granted_or_gone(
    crowded: Flask, administration: Administration, service: AdminClient, mailbox: Mailbox, query: Query
) -> None:
    before = query(DEADLOCKS)
    writer = administration.service("roles:write", "films:edit", name="writer")
    for number in range(10):
        email, role = f"a{number}@example.org", f"ROLE_N{number}"
        administration.role(role, "films:edit")
        service.data("POST", "/invitations", json={"email": email, "roles": [role]}, status=201)
        token = mailbox.invitation_sent_to(email)

        accepted, deleted = together(
            partial(accept, crowded, token),
            partial(writer.call, "DELETE", f"/roles/{role}"),
        )

        assert accepted.status_code == 200, accepted.text
        granted = role in accepted.get_json()["data"]["roles"]
        assert outcome(deleted) == ((409, "role_in_use") if granted else (200, ""))
    query("SELECT pg_stat_force_next_flush()")
    assert query(DEADLOCKS) == before
