"""Login history of a user, as the API returns it."""

from typing import Any

from werkzeug.test import TestResponse

from tests.support.actors import ApiClient


def read(api: ApiClient, token: str, **parameters: Any) -> TestResponse:
    """Request a page of the login history."""
    return api.with_token(token, "GET", "/me/login_history", query_string=parameters)


def kinds(api: ApiClient, token: str) -> list[str]:
    """The event types, newest first."""
    return [entry["kind"] for entry in read(api, token, limit=50).get_json()["data"]]
