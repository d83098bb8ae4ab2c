"""Users of the fuzzing tests, made through the API."""

from itertools import count
from typing import Any

from tests.support.actors import ApiClient

CODE = 7505
PASSWORD = "correct horse battery"
NUMBERS = count()
"""Makes addresses unique."""


def registered_user(api: ApiClient) -> str:
    """The address of a new temporary user."""
    email = f"user{next(NUMBERS)}@example.org"
    api.sign_up(email)
    return email


def signed_in_user(api: ApiClient) -> tuple[str, dict[str, Any]]:
    """The address and the tokens of a new portal user."""
    email = registered_user(api)
    user_id: int = api.look_up(email).json["data"]["id"]  # type: ignore[index]
    api.ask_for_code(user_id, CODE)
    api.confirm(user_id, CODE)
    api.finish(user_id, password=PASSWORD)
    return email, api.signed_in(email, PASSWORD)
