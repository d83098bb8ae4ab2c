"""`SIGN_UP`: who may register, in the states open, invited and closed, alike for known and unknown addresses."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from auth_service.settings import SettingsRefused
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.administration import Administration
from tests.support.application import MakeApp

CLOSED = (403, "registration_closed")


def outcome(answer: Any) -> tuple[int, str]:
    return answer.status_code, refusal(answer)["code"] if answer.status_code >= 400 else ""


@pytest.fixture
def deployed(make_app: MakeApp) -> Callable[[str], Flask]:
    """The same deployment after a restart with another `SIGN_UP`."""
    return lambda state: make_app(sign_up=state)


def test_ad8_open_is_the_default(app: Flask, mailbox: Mailbox) -> None:
    ApiClient(app).register(ADA, mailbox, password=PASSWORD)


@pytest.mark.parametrize("state", ["invited", "closed"])
def test_ad8_sign_up_is_refused_alike_for_known_and_unknown_addresses(
    deployed: Callable[[str], Flask], app: Flask, mailbox: Mailbox, state: str
) -> None:
    ApiClient(app).register(ADA, mailbox, password=PASSWORD)
    ApiClient(app).sign_up("temporary@example.org")
    api = ApiClient(deployed(state))

    answers = [api.try_to_sign_up(email) for email in (ADA, "temporary@example.org", "unknown@example.org")]

    assert {outcome(answer) for answer in answers} == {CLOSED}
    assert len({answer.text for answer in answers}) == 1


@pytest.mark.parametrize("state", ["invited", "closed"])
def test_ad8_a_registration_that_began_before_cannot_be_finished(
    deployed: Callable[[str], Flask], app: Flask, mailbox: Mailbox, state: str
) -> None:
    api = ApiClient(app)
    user_id = api.sign_up(ADA)
    api.ask_for_code(user_id)
    assert api.confirm(user_id, mailbox.code_sent_to(ADA)).status_code == 200
    later = ApiClient(deployed(state))
    later.client = deployed(state).test_client()
    ticket = api.client.get_cookie("registration")
    assert ticket is not None
    later.client.set_cookie("registration", ticket.value)

    assert outcome(later.ask_for_code(user_id)) == outcome(later.ask_for_code(5)) == CLOSED
    assert outcome(later.finish(user_id, password=PASSWORD)) == CLOSED
    assert api.finish(user_id, password=PASSWORD).status_code == 200, "after it is open again"
    assert later.finish(user_id, password=PASSWORD).status_code == 200, "a lost answer can be asked for again"


@pytest.mark.parametrize("state", ["invited", "closed"])
def test_ad8_users_sign_in_and_reset_passwords_in_every_state(
    deployed: Callable[[str], Flask], app: Flask, mailbox: Mailbox, state: str
) -> None:
    ApiClient(app).register(ADA, mailbox, password=PASSWORD)
    api = ApiClient(deployed(state))

    assert api.sign_in(ADA, PASSWORD).status_code == 200
    assert api.ask_to_recover(ADA).status_code == 200


def test_ad8_with_invited_people_register_by_invitation(deployed: Callable[[str], Flask], mailbox: Mailbox) -> None:
    app = deployed("open")
    ApiClient(app).sign_up(ADA)
    service = Administration(app, mailbox).service("users:invite")
    invited = deployed("invited")

    answer = service.call("POST", "/invitations", json={"email": ADA})
    assert answer.status_code == 201
    token = mailbox.invitation_sent_to(ADA)
    api = ApiClient(invited)
    assert api.call("POST", "/invitation", json={"token": token}).status_code == 200
    assert api.call("POST", "/invitation/accept", json={"token": token, "password": PASSWORD}).status_code == 200
    assert api.sign_in(ADA, PASSWORD).status_code == 200


def test_ad8_with_closed_nobody_is_invited_and_open_invitations_do_not_work_but_can_be_revoked(
    deployed: Callable[[str], Flask], app: Flask, mailbox: Mailbox
) -> None:
    open_admin = Administration(app, mailbox).administrator()
    invitation = open_admin.data("POST", "/invitations", json={"email": ADA}, status=201)["id"]
    token = mailbox.invitation_sent_to(ADA)
    closed = deployed("closed")
    admin = Administration(closed, mailbox).service("users:invite")
    api = ApiClient(closed)

    for email in (ADA, "admin@example.org", "unknown@example.org"):
        assert admin.error("POST", "/invitations", json={"email": email}) == CLOSED
    assert admin.error("POST", f"/invitations/{invitation}/resend") == CLOSED
    for path in ("/invitation", "/invitation/accept"):
        for each in (token, "A" * 43):
            assert outcome(api.call("POST", path, json={"token": each})) == CLOSED
    assert [each["state"] for each in admin.data("GET", "/invitations")] == ["open"]
    assert admin.call("DELETE", f"/invitations/{invitation}").status_code == 200


@pytest.mark.parametrize("value", ["Open", "on", "true", "invite", "open,closed"])
def test_ad8_another_value_keeps_the_service_from_starting(make_app: MakeApp, value: str) -> None:
    with pytest.raises(SettingsRefused, match="SIGN_UP"):
        make_app(sign_up=value)
