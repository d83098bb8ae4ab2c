"""Emails of codes that were replaced or used: withdrawn from the outbox, and never sent after the newer one."""

from collections.abc import Callable
from email.message import Message
from pathlib import Path

import pytest
from flask import Flask

from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.adapters.email.transport import MailDeferred
from auth_service.services.email.queue import ClaimedMessage
from auth_service.wiring import Services
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox
from tests.support.application import MakeApp
from tests.support.stores import Query

pytestmark = pytest.mark.slow

NEW_ADDRESS = "ada@elsewhere.org"
GRACE = "grace@example.org"


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """The application without rate limits, so that codes can be requested at once."""
    return make_app(rate_limits="off")


@pytest.fixture
def requests(api: ApiClient, mailbox: Mailbox) -> dict[str, tuple[str, Callable[[], object]]]:
    """A request for each kind of code, with the address that its email goes to."""
    api.register(ADA, mailbox, password=PASSWORD)
    token = str(api.signed_in(ADA, PASSWORD)["access_token"])
    grace = api.sign_up(GRACE)
    mailbox.deliver()
    return {
        "registration_code": (GRACE, lambda: api.ask_for_code(grace)),
        "sign_in_code": (ADA, lambda: api.ask_to_sign_in(ADA)),
        "recovery_code": (ADA, lambda: api.ask_to_recover(ADA)),
        "email_code": (NEW_ADDRESS, lambda: api.ask_to_move(token, NEW_ADDRESS, password=PASSWORD)),
        "deletion_code": (ADA, lambda: api.ask_to_leave(token)),
    }


KINDS = ("registration_code", "sign_in_code", "recovery_code", "email_code", "deletion_code")


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_newest_of_several_waiting_codes_is_sent(
    kind: str, requests: dict[str, tuple[str, Callable[[], object]]], mailbox: Mailbox, query: Query
) -> None:
    address, request = requests[kind]
    had = len(mailbox.letters_to(address))
    for _ in range(3):
        request()

    assert sorted(mailbox.deliver()) == ["sent", "withdrawn", "withdrawn"]

    assert len(mailbox.letters_to(address)) == had + 1
    states = query("SELECT state FROM letters WHERE kind = %s ORDER BY created_at DESC LIMIT 3", kind)
    assert states == [("sent",), ("expired",), ("expired",)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_claimed_email_is_not_sent_once_its_code_is_replaced(
    kind: str, requests: dict[str, tuple[str, Callable[[], object]]], mailbox: Mailbox, app: Flask, tmp_path: Path
) -> None:
    _, request = requests[kind]
    delivery, inbox = services_of(app).delivery, DevInbox(tmp_path / "two workers")
    request()
    with app.app_context():
        [older] = delivery.claim(at_most=10)
    request()
    with app.app_context():
        assert delivery.claim(at_most=10) == [], "the newer one waits while the older one may be on its way"
        assert delivery.deliver(older, transport=inbox) == "withdrawn"
        [newer] = delivery.claim(at_most=10)
        assert delivery.deliver(newer, transport=inbox) == "sent"
    assert len(inbox.messages()) == 1


class DuringSending:
    """A transport that does something while it sends, and then sends or fails."""

    def __init__(self, inbox: DevInbox, meanwhile: Callable[[], None], *, failure: Exception | None = None) -> None:
        self._inbox = inbox
        self._meanwhile = meanwhile
        self._failure = failure

    def send(self, message: Message, *, to: str) -> None:
        """Send the email."""
        self._meanwhile()
        if self._failure is not None:
            raise self._failure
        self._inbox.send(message, to=to)


@pytest.mark.parametrize("fails", [False, True])
def test_a_newer_code_waits_while_the_older_one_is_being_sent(
    fails: bool,
    requests: dict[str, tuple[str, Callable[[], object]]],
    mailbox: Mailbox,
    app: Flask,
    query: Query,
    tmp_path: Path,
) -> None:
    _, request = requests["sign_in_code"]
    delivery, inbox = services_of(app).delivery, DevInbox(tmp_path / "slow")
    claims_of_another_worker: list[ClaimedMessage] = []

    def meanwhile() -> None:
        request()
        claims_of_another_worker.extend(delivery.claim(at_most=10))

    request()
    with app.app_context():
        [older] = delivery.claim(at_most=10)
        failure = MailDeferred(reason="the server took too long") if fails else None
        outcome = delivery.deliver(older, transport=DuringSending(inbox, meanwhile, failure=failure))
        assert (outcome, claims_of_another_worker) == ("deferred" if fails else "sent", [])
        query("UPDATE letters SET next_attempt_at = now() WHERE state = 'waiting'")
        outcomes = [delivery.deliver(message, transport=inbox) for message in delivery.claim(at_most=10)]
    assert sorted(outcomes) == (["sent", "withdrawn"] if fails else ["sent"])
    assert len(inbox.messages()) == (1 if fails else 2)


def test_an_email_whose_worker_died_is_not_sent_after_a_newer_one(
    requests: dict[str, tuple[str, Callable[[], object]]], mailbox: Mailbox, app: Flask, query: Query
) -> None:
    _, request = requests["recovery_code"]
    request()
    with app.app_context():
        [_] = services_of(app).delivery.claim(at_most=10)  # and the worker dies
    request()
    assert mailbox.deliver() == []

    query("UPDATE letters SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL")

    assert sorted(mailbox.deliver()) == ["sent", "withdrawn"]


def test_a_code_for_another_browser_replaces_nothing(
    requests: dict[str, tuple[str, Callable[[], object]]], mailbox: Mailbox, app: Flask
) -> None:
    requests["sign_in_code"][1]()
    ApiClient(app).ask_to_sign_in(ADA)  # also a way to withdraw the email of another user, if it did

    assert mailbox.deliver() == ["sent", "sent"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_email_of_a_used_code_is_withdrawn(
    kind: str,
    requests: dict[str, tuple[str, Callable[[], object]]],
    mailbox: Mailbox,
    api: ApiClient,
    app: Flask,
    query: Query,
) -> None:
    _, request = requests[kind]
    token = str(api.signed_in(ADA, PASSWORD)["access_token"]) if kind in ("email_code", "deletion_code") else ""
    mailbox.deliver()
    if kind == "email_code":
        api.ask_to_move(token, NEW_ADDRESS, password=PASSWORD)
    elif kind == "deletion_code":
        api.ask_to_leave(token)
    else:
        request()
    [(grace,)] = query("SELECT id FROM users WHERE email = %s", GRACE)
    code = waiting_code(app)

    used = {
        "registration_code": lambda: api.confirm(grace, code),
        "sign_in_code": lambda: api.sign_in_by_code(ADA, code),
        "recovery_code": lambda: api.recover(ADA, code, "another horse battery"),
        "email_code": lambda: api.move(token, code),
        "deletion_code": lambda: api.leave(token, code=code),
    }[kind]()

    assert used.status_code == 200, used.text
    assert query("SELECT count(*) FROM letters WHERE kind = %s AND state = 'waiting'", kind) == [(0,)]


@pytest.mark.parametrize("kind", ["sign_in_code", "recovery_code", "deletion_code", "email_code"])
def test_a_changed_password_withdraws_the_codes_that_it_invalidates(
    kind: str, requests: dict[str, tuple[str, Callable[[], object]]], api: ApiClient, query: Query
) -> None:
    requests[kind][1]()
    token = str(api.signed_in(ADA, PASSWORD)["access_token"])

    assert api.change_password(token, PASSWORD, "another horse battery").status_code == 200

    assert query("SELECT state FROM letters WHERE kind = %s ORDER BY created_at DESC LIMIT 1", kind) == [("expired",)]


def services_of(app: Flask) -> Services:
    """The services of an application."""
    services: Services = app.extensions["auth_service"]
    return services


def waiting_code(app: Flask) -> str:
    """The code of the only email that waits."""
    delivery = services_of(app).delivery
    with app.app_context():
        [message] = delivery.claim(at_most=10)
        delivery.release([message])
        return str(delivery.queue.open_payload(message)["code"])
