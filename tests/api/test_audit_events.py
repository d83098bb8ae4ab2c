"""Audit events: every type is produced by a request, with actor, target and request id, and without secrets."""

from typing import Any

import pytest
from flask import Flask

from auth_service.models.audit_event import CHANGED_FIELDS, EventType
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox
from tests.support.administration import Administration
from tests.support.audit_events import Scene
from tests.support.produced_events import PRODUCED
from tests.support.stores import Query

ROWS = "SELECT row_to_json(events)::text, concat_ws(' ', device, target_id, details) FROM events"


def test_au1_every_event_type_has_a_producer() -> None:
    assert set(PRODUCED) == set(EventType), "add a line to PRODUCED in tests/support/audit_events.py"


@pytest.mark.parametrize("event_type", EventType)
def test_au1_a_request_produces_the_event_with_actor_target_and_request_id_and_without_secrets(
    app: Flask, mailbox: Mailbox, query: Query, event_type: EventType
) -> None:
    scene = Scene(app, mailbox, event_type.name.lower())
    produced = PRODUCED[event_type]

    produced.produce(scene)

    events = scene.admin.data("GET", "/admin/audit", query_string={"action": event_type.value})
    [event, *_] = [event for event in events if event["request_id"] == scene.request_id]
    assert (event["actor"]["type"], event["target"]["type"]) == (produced.actor, produced.target)
    if event_type is not EventType.ACCOUNT_DELETED:
        assert event["target"]["id"]
        assert event["actor"]["id"] or produced.actor == "anonymous"
    assert set(event["changes"]) == CHANGED_FIELDS.get(event_type, frozenset()), "AU2"

    passwords_and_tokens = {secret for secret in scene.secrets if not secret.isdecimal()}
    codes = scene.secrets - passwords_and_tokens
    assert len(passwords_and_tokens) >= 2
    for row, texts in query(ROWS):
        assert not [secret for secret in passwords_and_tokens if secret in row]
        assert not [code for code in codes if code in texts], "columns with numbers may contain one by chance"


def test_au6_no_event_has_anything_of_a_deleted_user_except_the_number_of_an_actor(
    app: Flask, mailbox: Mailbox, query: Query
) -> None:
    administration = Administration(app, mailbox)
    other = administration.administrator("other@example.org")
    api = ApiClient(app, address="2001:db8::7")
    ada = api.register(ADA, mailbox, password=PASSWORD)
    administration.grant(ada, "ROLE_PORTAL_ADMIN")
    sign_in = {"json": {"email": ADA, "password": PASSWORD}, "headers": {"User-Agent": "ada-phone/1.0"}}
    token = api.call("POST", "/sign_in", **sign_in).get_json()["data"]["access_token"]
    api.sign_in(ADA, "a wrong password")
    headers = {"Authorization": f"Bearer {token}", "User-Agent": "ada-phone/1.0", "X-Request-Id": f"ada.{ada}"}
    environ = {"REMOTE_ADDR": "2001:db8::7"}

    def administrate(method: str, path: str, **options: Any) -> None:
        answer = app.test_client().open(
            f"/api/v1{path}", method=method, headers=headers, environ_overrides=environ, **options
        )
        assert answer.status_code < 300, answer.text

    administrate("POST", "/roles", json={"name": "ROLE_EDITOR", "permissions": ["films:edit"]})
    administrate("PUT", f"/users/{other.user_id}/roles/ROLE_EDITOR")
    other.data("PUT", f"/users/{ada}/roles/ROLE_EDITOR")
    app.test_client().get(
        f"/api/v1/admin/audit?actor=user:{ada}", headers={**headers, "Accept": "text/csv"}, environ_overrides=environ
    )
    [(before,)] = query("SELECT count(*) FROM events")

    assert api.leave(token, password=PASSWORD).status_code == 200

    assert query("SELECT count(*) FROM events") == [(before + 1,)]
    own = query("SELECT kind FROM events WHERE actor_type = 'user' AND actor_id = %s ORDER BY id", str(ada))
    assert own == [("role.created",), ("role.granted",), ("audit.exported",)]
    for row, texts in query(
        "SELECT row_to_json(events)::text, concat_ws(' ', device, request_id, details) FROM events"
    ):
        for personal in (ADA, "2001:db8", "ada-phone", f"ada.{ada}", f'"user_id":{ada}'):
            assert personal not in row
        assert str(ada) not in texts
    history = other.data("GET", "/users/me/login_history")
    assert [event["kind"] for event in history if event["by"] == "administrator"] == ["role.granted"]
    assert other.data("GET", f"/admin/audit?target=user:{ada}") == []
    acts = other.data("GET", f"/admin/audit?actor=user:{ada}&action=role.created")
    assert [(act["address"], act["device"], act["request_id"]) for act in acts] == [(None, "", None)]
