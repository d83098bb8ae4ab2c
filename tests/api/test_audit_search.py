"""Audit log search: filters, pages and cursors for auditors; the view of the user itself."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from auth_service.db import unit_of_work
from auth_service.models.audit_event import EventType
from auth_service.services.caller import Caller, CallerType
from auth_service.wiring import Services
from tests.support.actors import ADA, PASSWORD, ApiClient
from tests.support.administration import CLIENT, AdminClient, Administration
from tests.support.audit_search import found, party
from tests.support.stores import Query

GRACE = "grace@example.org"
ANONYMOUS = {"type": "anonymous", "id": None}


# Search.


def test_au1_an_event_has_actor_target_request_id_changes_and_address(admin: AdminClient, ada: int) -> None:
    admin.data("POST", "/roles", json={"name": "ROLE_EDITOR", "permissions": ["films:edit"]}, status=201)
    answer = admin.call(
        "PUT", f"/users/{ada}/roles/ROLE_EDITOR", headers={"X-Request-Id": "grant-4711", "User-Agent": "curl/8.0"}
    )
    assert answer.status_code == 200

    [event, *_] = admin.data("GET", "/admin/audit?limit=1")

    assert isinstance(event.pop("id"), int)
    assert event.pop("at").endswith("Z")
    assert event == {
        "action": "role.granted",
        "outcome": "success",
        "actor": party("user", admin.user_id),
        "target": party("user", ada),
        "address": "127.0.0.1",
        "device": "curl 8",
        "session_id": None,
        "request_id": "grant-4711",
        "changes": {"role": [None, "ROLE_EDITOR"]},
        "reason": None,
    }


def test_au4_events_are_found_by_actor_target_action_and_outcome(
    admin: AdminClient, administration: Administration, ada: int, app: Flask
) -> None:
    administration.role("ROLE_EDITOR", "films:edit")
    service = administration.service("roles:grant", "films:edit", name="shop")
    service.data("PUT", f"/users/{ada}/roles/ROLE_EDITOR")
    ApiClient(app).signed_in(ADA, PASSWORD)
    ApiClient(app).sign_in(ADA, "a wrong password")
    ApiClient(app).sign_in("unknown@example.org", "a wrong password")
    key = found(admin, action="role.granted", target=f"user:{ada}")[0]["actor"]["id"]

    def kinds(**filters: Any) -> list[str]:
        return [event["action"] for event in found(admin, **filters)]

    assert kinds(actor=f"user:{ada}") == ["signed_in", "registered"], "a failed sign-in is one of an anonymous client"
    assert kinds(target=f"user:{ada}") == ["sign_in_refused", "signed_in", "role.granted", "registered"]
    assert kinds(actor=f"service:{key}") == ["role.granted"]
    assert kinds(actor=f"service:{key}", target=f"user:{ada}", action="role.granted") == ["role.granted"]
    assert kinds(actor=f"service:{key}", target=f"user:{admin.user_id}") == []
    assert kinds(target="role:ROLE_EDITOR") == ["role.created"]
    assert kinds(actor="system:auth-service") == ["role.created", "role.granted"]
    assert kinds(action="sign_in_refused") == ["sign_in_refused"] * 2
    assert kinds(action="sign_in_refused", outcome="success") == []
    assert kinds(outcome="failure") == ["sign_in_refused"] * 2
    assert kinds(outcome="failure", target=f"user:{ada}") == ["sign_in_refused"]
    assert "sign_in_refused" not in kinds(outcome="success")
    assert kinds(actor=f"user:{ada}", action="registered", outcome="success") == ["registered"]
    assert kinds(target="user:1") == []
    unknown, known = found(admin, action="sign_in_refused")
    assert (unknown["actor"], unknown["target"]) == (ANONYMOUS, {"type": "user", "id": None})
    assert (known["actor"], known["target"]) == (ANONYMOUS, party("user", ada))


@pytest.mark.clock
def test_au4_a_time_range_includes_its_beginning_and_not_its_end(admin: AdminClient, query: Query, ada: int) -> None:
    query("DELETE FROM events")
    begin = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)
    for number in range(3):
        query(
            "INSERT INTO events (at, user_id, kind, outcome, device, details) VALUES (%s, %s, %s, 'success', '', '{}')",
            begin + timedelta(hours=number),
            ada,
            "signed_out" if number == 1 else "signed_in",
        )

    def hours(**filters: Any) -> list[int]:
        return [
            round((datetime.fromisoformat(event["at"]) - begin).total_seconds() / 3600)
            for event in found(admin, **filters)
        ]

    first, second = (f"{begin + timedelta(hours=number):%Y-%m-%dT%H:%M:%SZ}" for number in (0, 1))
    assert hours() == [2, 1, 0]
    assert hours(**{"from": second}) == [2, 1]
    assert hours(to=second) == [0]
    assert hours(**{"from": first, "to": second}) == [0]
    assert hours(**{"from": second, "to": first}) == []
    assert hours(to=second, actor=f"user:{ada}") == [0]
    assert hours(**{"from": first}, action="signed_in") == [2, 0]
    assert hours(to=f"{begin:%Y-%m-%dT%H:%M:%S}+00:00") == []


@pytest.mark.parametrize("filters", [{}, {"action": "signed_in"}, {"outcome": "success"}, {"actor": "user:{ada}"}])
def test_in8_a_search_is_stable_while_events_are_added(
    admin: AdminClient, api: ApiClient, ada: int, filters: dict[str, str]
) -> None:
    filters = {name: value.format(ada=ada) for name, value in filters.items()}
    for _ in range(5):
        api.signed_in(ADA, PASSWORD)
    expected = [event["id"] for event in found(admin, **filters)]
    assert expected == sorted(expected, reverse=True)

    ids: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        page = admin.call("GET", "/admin/audit", query_string={**filters, "limit": 2, **cursor}).get_json()
        ids += [event["id"] for event in page["data"]]
        api.signed_in(ADA, PASSWORD)
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}

    assert ids == expected


def test_in8_events_of_one_transaction_are_on_one_page_each(admin: AdminClient, query: Query) -> None:
    query(
        "INSERT INTO events (kind, outcome, device, details)"
        " SELECT 'signed_in', 'success', '', '{}' FROM generate_series(1, 20)"
    )

    ids = [event["id"] for event in found(admin, action="signed_in")]

    assert len(ids) == len(set(ids)) == 21


def test_az2_a_cursor_of_another_caller_or_other_filters_is_rejected(
    admin: AdminClient, administration: Administration
) -> None:
    other = administration.administrator("other@example.org")
    service = administration.service("audit:read", name="auditor")
    cursor = admin.call("GET", "/admin/audit?limit=1&outcome=success").get_json()["next_cursor"]

    assert admin.call("GET", f"/admin/audit?outcome=success&cursor={cursor}").status_code == 200
    for client, filters in (
        (other, "outcome=success"),
        (service, "outcome=success"),
        (admin, "outcome=failure"),
        (admin, ""),
        (admin, "outcome=success&action=signed_in"),
    ):
        answer = client.call("GET", f"/admin/audit?{filters}&cursor={cursor}".replace("?&", "?"))
        assert answer.status_code == 422
        assert answer.get_json()["error"]["fields"][0]["reason"] == "cursor_invalid"
    roles = admin.call("GET", "/roles?limit=1").get_json()["next_cursor"]
    assert admin.error("GET", f"/admin/audit?cursor={roles}") == (422, "validation_failed")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("actor", "4711", "malformed"),
        ("actor", "user:x", "malformed"),
        ("actor", "user:0", "malformed"),
        ("actor", "user:12345678901234567", "malformed"),
        ("actor", "role:ROLE_EDITOR", "malformed"),
        ("target", "user:", "malformed"),
        ("target", "user:x", "malformed"),
        ("target", "Role:x", "malformed"),
        ("target", "role:\x01", "malformed"),
        ("action", "signed", "unknown_value"),
        ("outcome", "odd", "unknown_value"),
        ("from", "2026-07-01", "malformed"),
        ("from", "2026-07-01T00:00:00", "malformed"),
        ("from", "1751328000", "malformed"),
        ("to", "2026-13-01T00:00:00Z", "malformed"),
        ("limit", "51", "too_large"),
        ("since", "2026-07-01T00:00:00Z", "unexpected"),
    ],
)
def test_an_invalid_filter_is_rejected_by_field(admin: AdminClient, name: str, value: str, reason: str) -> None:
    answer = admin.call("GET", "/admin/audit", query_string={name: value})

    assert answer.status_code == 422, answer.text
    [error] = answer.get_json()["error"]["fields"]
    assert (error["field"], error["reason"]) == (name, reason)


def test_every_event_type_is_listed_with_its_description(admin: AdminClient) -> None:
    actions = admin.data("GET", "/admin/audit/actions")

    assert {action["action"]: action["description"] for action in actions} == {
        event_type.value: event_type.description for event_type in EventType
    }


# What users see of the actions of others.


def test_au5_a_user_sees_that_an_administrator_acted_and_not_who(
    admin: AdminClient, administration: Administration, api: ApiClient, token: str, ada: int, app: Flask
) -> None:
    administration.role("ROLE_EDITOR", "films:edit")
    admin.data("PUT", f"/users/{ada}/roles/ROLE_EDITOR", headers={"User-Agent": "curl/8.0"})
    administration.service("roles:grant", "films:edit").data("DELETE", f"/users/{ada}/roles/ROLE_EDITOR")
    administration.grant(ada, "ROLE_EDITOR")
    record_with_reason(app, ada, actor=admin.user_id or 0)

    history = api.with_token(token, "GET", "/me/login_history").get_json()["data"]
    export = api.with_token(token, "GET", "/me/export").get_json()["data"]["history"]

    of_others = [event for event in history if event["by"] is not None]
    assert [(event["kind"], event["by"]) for event in of_others] == [
        ("role.granted", "administrator"),
        ("role.granted", "system"),
        ("role.withdrawn", "service"),
        ("role.granted", "administrator"),
    ]
    assert {(event["device"], event["address"], event["session_id"]) for event in of_others} == {("", None, None)}
    assert [event["kind"] for event in history if event["by"] is None] == ["signed_in", "registered"]
    assert [event["by"] for event in export if event["by"] is not None] == [event["by"] for event in of_others]
    for text in (str(history), str(export)):
        for hidden in (str(admin.user_id), "127.0.0.1", "curl", "a note to colleagues", "changes"):
            assert hidden not in text
    [event, *_] = found(admin, target=f"user:{ada}", action="role.granted")
    assert (event["reason"], event["actor"]) == ("a note to colleagues", party("user", admin.user_id))


def test_au5_what_administrators_do_to_themselves_is_their_own(
    admin: AdminClient, administration: Administration
) -> None:
    administration.role("ROLE_EDITOR", "films:edit")
    admin.data("PUT", f"/users/{admin.user_id}/roles/ROLE_EDITOR")

    history = admin.data("GET", "/users/me/login_history?limit=1")

    assert [(event["kind"], event["by"], event["address"]) for event in history] == [
        ("role.granted", None, "127.0.0.1")
    ]


def test_au5_a_user_reads_no_events_about_others(
    admin: AdminClient, api: ApiClient, token: str, administration: Administration
) -> None:
    administration.user(GRACE)
    admin.data("POST", "/roles", json={"name": "ROLE_EDITOR"}, status=201)

    assert [event["kind"] for event in api.with_token(token, "GET", "/me/login_history").get_json()["data"]] == [
        "signed_in",
        "registered",
    ]
    own = AdminClient(administration.app, {"Authorization": f"Bearer {token}"})
    assert own.error("GET", "/admin/audit") == (403, "permission_missing")
    assert "role.created" not in [event["kind"] for event in admin.data("GET", "/users/me/login_history")]


# Recording.


def record_with_reason(app: Flask, user_id: int, *, actor: int) -> None:
    """Record that an administrator granted a role, with a reason."""
    services: Services = app.extensions["auth_service"]
    with app.app_context(), unit_of_work():
        services.audit_log.record(
            EventType.ROLE_GRANTED,
            user_id=user_id,
            client=CLIENT,
            actor=Caller(type=CallerType.USER, id=str(actor), permissions=frozenset()),
            changes={"role": [None, "ROLE_X"]},
            reason="a note to colleagues",
            role="ROLE_X",
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"role": [None, "ROLE_X"], "email": ["a@x.org", "b@x.org"]}, "no changes of .'email'"),
        ({"role": ["ROLE_X"]}, "before"),
    ],
)
def test_au2_an_unknown_field_of_the_changes_raises_an_error(
    app: Flask, query: Query, changes: dict[str, list[Any]], message: str
) -> None:
    services: Services = app.extensions["auth_service"]
    with pytest.raises(ValueError, match=message), app.app_context(), unit_of_work():
        services.audit_log.record(EventType.ROLE_GRANTED, user_id=1, client=CLIENT, changes=changes)
    assert query("SELECT count(*) FROM events") == [(0,)]


@pytest.mark.parametrize("event_type", EventType)
def test_au2_no_event_type_takes_a_field_that_is_not_listed(app: Flask, event_type: EventType) -> None:
    services: Services = app.extensions["auth_service"]
    with pytest.raises(ValueError, match="CHANGED_FIELDS"), app.app_context(), unit_of_work():
        services.audit_log.record(event_type, user_id=1, client=CLIENT, changes={"unlisted": [1, 2]})
