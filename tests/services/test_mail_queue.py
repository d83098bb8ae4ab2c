"""Mail queue: only the worker that holds the lease of an email sends it, and only while the lease lasts."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select, update

from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.db import autocommit, unit_of_work
from auth_service.models import OutboxMessage
from auth_service.services.email.queue import ClaimedMessage, MailQueue
from auth_service.settings import Settings, SettingsRefused
from auth_service.wiring import Services
from tests.support.actors import ApiClient


def claim(queue: MailQueue) -> list[ClaimedMessage]:
    with unit_of_work():
        return queue.claim(at_most=10)


def test_a_late_worker_does_not_end_the_lease_of_another_worker(app: Flask, services: Services, api: ApiClient) -> None:
    api.ask_for_code(api.sign_up("ada@example.org"))
    with app.app_context():
        [late] = claim(replace(services.delivery.queue, lease=timedelta(0)))
        [holder] = claim(services.delivery.queue)

        with unit_of_work():
            services.delivery.queue.release([late])
            services.delivery.queue.defer(late, reason="the server took too long")
        with autocommit() as connection:
            row = connection.execute(select(OutboxMessage.lease_until, OutboxMessage.trouble)).one()
            assert row.lease_until is not None
            assert row.trouble is None
        assert claim(services.delivery.queue) == []

        with unit_of_work():
            services.delivery.queue.release([holder])
        assert [message.id for message in claim(services.delivery.queue)] == [late.id]


def test_a_claimed_email_that_waited_too_long_for_a_worker_is_released(
    app: Flask, services: Services, api: ApiClient, tmp_path: Path
) -> None:
    inbox = DevInbox(tmp_path)
    api.ask_for_code(api.sign_up("ada@example.org"))
    with app.app_context():
        [message] = claim(services.delivery.queue)

        assert services.delivery.deliver(replace(message, begin_by=time.monotonic() - 0.01), transport=inbox) == "late"

        assert inbox.messages() == []
        [claimed_again] = claim(services.delivery.queue)
        assert claimed_again.attempts == message.attempts == 1
        assert services.delivery.deliver(claimed_again, transport=inbox) == "sent"


@pytest.mark.clock
@pytest.mark.parametrize(("ttl", "begins_within"), [(600, 7.5), (5, 5)])
def test_sending_begins_early_enough_to_end_within_the_lease_and_the_ttl_of_the_code(
    ttl: int, begins_within: float, app: Flask, services: Services
) -> None:
    client = ApiClient(app)
    client.ask_for_code(client.sign_up("ada@example.org"))
    with app.app_context():
        with autocommit() as connection:
            connection.execute(
                update(OutboxMessage).values(not_after=OutboxMessage.not_after - timedelta(seconds=600 - ttl))
            )
        [message] = claim(services.delivery.queue)

    assert begins_within - 2 < message.begin_by - time.monotonic() <= begins_within


def test_a_lease_has_to_be_longer_than_the_mail_timeout(make_settings: Callable[..., Settings]) -> None:
    with pytest.raises(SettingsRefused, match=r"^OUTBOX_LEASE_SECONDS: has to be longer than MAIL_TIMEOUT_SECONDS$"):
        make_settings(outbox_lease_seconds="45")
