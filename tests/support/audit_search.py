"""Audit log search: all events that a search finds, and the parties of an event."""

from typing import Any

from tests.support.administration import AdminClient


def found(client: AdminClient, **filters: Any) -> list[dict[str, Any]]:
    """All events that a search finds, over all its pages."""
    events: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = client.call("GET", "/admin/audit", query_string={"limit": 3, **filters, **cursor})
        assert answer.status_code == 200, answer.text
        events += answer.get_json()["data"]
        if answer.get_json()["next_cursor"] is None:
            return events
        cursor = {"cursor": answer.get_json()["next_cursor"]}


def party(kind: str, identifier: object) -> dict[str, str]:
    """An actor or a target in an answer."""
    return {"type": kind, "id": str(identifier)}
