"""Bans: requests of administrators that ban and unban users."""

from typing import Any

from tests.support.administration import AdminClient

REASON = "Spam in the comments"
FOREVER = {"reason": REASON}
UNTIL = {"reason": REASON, "until": "2099-01-31T12:00:00+03:00"}


def ban_of(user_id: int | None) -> str:
    return f"/admin/users/{user_id}/ban"


def ban(admin: AdminClient, user_id: int | None, body: dict[str, Any] | None = None) -> None:
    """Ban a user; without a body, without end."""
    assert admin.call("PUT", ban_of(user_id), json=body or FOREVER).get_json() == {"success": True, "result": "Ok"}


def unban(admin: AdminClient, user_id: int | None) -> None:
    assert admin.call("DELETE", ban_of(user_id)).get_json() == {"success": True, "result": "Ok"}
