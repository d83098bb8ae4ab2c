"""Deletion during an audit event: an event of a deleted user does not name the user."""

from concurrent.futures import ThreadPoolExecutor

from flask import Flask
from sqlalchemy import literal_column, select

from auth_service.db import NoParameters, Statement, transaction, unit_of_work
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import ClientInfo
from tests.support.actors import ApiClient, Mailbox
from tests.support.statements import LOCK_WAITS
from tests.support.stores import Query

SENT = Statement(select(literal_column("1")), parameters=NoParameters, row=int)
"""Sends the statements that the transaction has collected."""

ADA, PASSWORD = "ada@example.org", "correct horse battery"


def test_a_deletion_waits_for_a_pending_event_and_anonymises_later_ones(
    api: ApiClient, mailbox: Mailbox, app: Flask, query: Query
) -> None:
    ada = api.register(ADA, mailbox, password=PASSWORD)
    token = str(api.signed_in(ADA, PASSWORD)["access_token"])
    audit_log = app.extensions["auth_service"].audit_log

    def record_wrong_code() -> None:
        client = ClientInfo(address="192.0.2.1", device="curl")
        audit_log.record_failure(EventType.CODE_REFUSED, user_id=ada, client=client, purpose="deletion")

    with ThreadPoolExecutor(1) as pool:
        with app.app_context(), unit_of_work():
            record_wrong_code()
            transaction().fetch_one(SENT({}))
            deletion = pool.submit(api.leave, token, password=PASSWORD)
            while query(LOCK_WAITS) == [(0,)] and not deletion.done():
                pass
        assert deletion.result().status_code == 200
    with app.app_context(), unit_of_work():
        record_wrong_code()

    assert query("SELECT count(*) FROM events WHERE user_id IS NOT NULL OR address IS NOT NULL") == [(0,)]
    assert query("SELECT count(*) FROM events WHERE kind = 'code_refused'") == [(1,)]
