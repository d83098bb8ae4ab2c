"""Outbox of emails: one lease, one delivery, payload erasure, retries with backoff, expiry with the code."""

from collections.abc import Callable
from datetime import timedelta
from email.message import Message
from pathlib import Path

import pytest

from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.adapters.email.transport import MailDeferred, MailRefused
from auth_service.db import unit_of_work
from auth_service.models.outbox_message import EmailKind
from auth_service.services.email.addresses import parse
from auth_service.services.email.queue import LONGEST_PAUSE
from auth_service.wiring import Services
from tests.support.actors import ApiClient
from tests.support.application import MakeApp
from tests.support.stores import Query

ADA = parse("ada@example.org")


class FailingTransport:
    """A transport whose server defers or rejects every email."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure

    def send(self, message: Message, *, to: str) -> None:
        """Raise the failure."""
        raise self._failure


def test_cd5_only_waiting_emails_have_a_payload_and_it_is_encrypted(
    write: Callable[..., bool], services: Services, query: Query, tmp_path: Path
) -> None:
    write()
    [(payload,)] = query("SELECT payload FROM letters")
    assert b"7505" not in bytes(payload)

    [message] = services.delivery.claim(at_most=10)
    assert services.delivery.deliver(message, transport=DevInbox(tmp_path)) == "sent"

    assert query("SELECT state, payload, attempts, ended_at IS NOT NULL FROM letters") == [("sent", None, 1, True)]
    [delivered] = DevInbox(tmp_path).messages(to=ADA.stored)
    assert delivered.code == "7505"
    assert delivered.message_id == f"<{message.id}@127.0.0.1>"


@pytest.mark.clock
def test_a_claimed_email_is_not_claimed_again_before_its_lease_expires(
    write: Callable[..., bool], services: Services, query: Query
) -> None:
    write()
    assert len(services.delivery.claim(at_most=10)) == 1
    assert services.delivery.claim(at_most=10) == []

    query("UPDATE letters SET lease_until = now() - interval '1 second'")

    [claimed_again] = services.delivery.claim(at_most=10)
    assert claimed_again.attempts == 2


@pytest.mark.clock
def test_a_deferred_email_is_retried_with_backoff(write: Callable[..., bool], services: Services, query: Query) -> None:
    write()
    pauses = []
    for _ in range(8):
        [message] = services.delivery.claim(at_most=1)
        outcome = services.delivery.deliver(
            message, transport=FailingTransport(MailDeferred(reason="busy", status=451))
        )
        assert outcome == "deferred"
        assert services.delivery.claim(at_most=1) == []
        [(pause, trouble)] = query("SELECT extract(epoch FROM next_attempt_at - now())::float, trouble FROM letters")
        assert trouble == "451 busy"
        pauses.append(pause)
        query("UPDATE letters SET next_attempt_at = now()")

    assert 0 < pauses[0] <= 2
    assert 25 < pauses[-1] <= LONGEST_PAUSE.total_seconds()


def test_a_rejected_email_is_dead_and_its_payload_erased(
    write: Callable[..., bool], services: Services, query: Query
) -> None:
    write()
    [message] = services.delivery.claim(at_most=1)

    assert (
        services.delivery.deliver(message, transport=FailingTransport(MailRefused(reason="no such box", status=550)))
        == "dead"
    )

    assert query("SELECT state, payload, trouble FROM letters") == [("dead", None, "550 no such box")]
    assert services.outbox.backlog().dead == 1


def test_an_email_encrypted_with_another_key_is_dead_not_a_crash(
    write: Callable[..., bool], services: Services, query: Query, tmp_path: Path
) -> None:
    write()
    query("UPDATE letters SET payload = decode(repeat('00', 40), 'hex')")
    [message] = services.delivery.claim(at_most=1)

    assert services.delivery.deliver(message, transport=DevInbox(tmp_path)) == "dead"
    assert query("SELECT trouble FROM letters") == [("sealed with another key",)]


def test_an_email_expires_with_its_code(write: Callable[..., bool], services: Services, query: Query) -> None:
    write(ttl=timedelta(0))

    assert services.delivery.claim(at_most=1) == []
    services.delivery.expire_due()

    assert query("SELECT state, payload FROM letters") == [("expired", None)]


def test_released_emails_can_be_claimed_immediately(write: Callable[..., bool], services: Services) -> None:
    write()
    leased = services.delivery.claim(at_most=1)

    services.delivery.release(leased)

    [claimed_again] = services.delivery.claim(at_most=1)
    assert claimed_again.attempts == 1


@pytest.mark.clock
def test_the_backlog_shows_how_long_the_oldest_email_has_waited(
    write: Callable[..., bool], services: Services, query: Query
) -> None:
    empty = services.outbox.backlog()
    assert (empty.waiting, empty.oldest) == (0, timedelta())
    write()
    query("UPDATE letters SET next_attempt_at = now() - interval '100 seconds'")

    backlog = services.outbox.backlog()

    assert backlog.waiting == 1
    assert timedelta(seconds=100) <= backlog.oldest < timedelta(seconds=110)


@pytest.mark.clock
def test_old_email_records_are_deleted_but_not_those_of_the_daily_cap(
    write: Callable[..., bool], services: Services, query: Query
) -> None:
    for _ in range(3):
        write(ttl=timedelta(0))
    services.delivery.expire_due()
    query("UPDATE letters SET ended_at = now() - interval '2 days' WHERE id = (SELECT id FROM letters LIMIT 1)")

    with unit_of_work():
        assert services.outbox.delete_ended(at_most=1000, older_than=timedelta(days=3)) == 0
    with unit_of_work():
        assert services.outbox.delete_ended(at_most=1000, older_than=timedelta(0)) == 1


def test_finishing_a_registration_expires_its_waiting_code_emails(make_app: MakeApp, query: Query) -> None:
    api = ApiClient(make_app())
    ada = api.sign_up("grace@example.org")
    api.ask_for_code(ada, 7505)
    api.confirm(ada, 7505)
    api.ask_again(ada, 7506)
    api.confirm(ada, 7506)

    api.finish(ada)

    assert query("SELECT DISTINCT state FROM letters") == [("expired",)]


def test_an_email_that_cannot_be_rendered_is_dead_and_not_retried(
    services: Services, context: None, ada: int, query: Query, tmp_path: Path
) -> None:
    with unit_of_work():
        services.outbox.put_code(
            kind=EmailKind.REGISTRATION_CODE,
            to=ADA,
            user_id=ada,
            language="en",
            values={"code": "75\n05", "minutes": 10},
            ttl=timedelta(minutes=10),
        )
    [message] = services.delivery.claim(at_most=1)

    assert services.delivery.deliver(message, transport=DevInbox(tmp_path)) == "dead"
    assert query("SELECT trouble FROM letters") == [("cannot be written",)]


def test_a_deleted_user_gets_no_email(write: Callable[..., bool], query: Query) -> None:
    query("DELETE FROM users")

    assert write() is False
    assert query("SELECT count(*) FROM letters") == [(0,)]
