"""Administration clients: users with roles and services with keys, who call the administrative endpoints."""

import re
from collections.abc import Callable
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from auth_service.db import db, unit_of_work
from auth_service.models import PORTAL_ADMIN
from auth_service.services.audit.events import ClientInfo
from auth_service.services.caller import SYSTEM
from auth_service.wiring import Services
from tests.support.actors import PASSWORD, ApiClient, Mailbox
from tests.support.service_client import made_key

CLIENT = ClientInfo(address="192.0.2.1", device="a test")
V1 = "/api/v1"


class AdminClient:
    """A client of the administrative endpoints, with one kind of credentials."""

    def __init__(self, app: Flask, headers: dict[str, str], *, user_id: int | None = None, base: str = V1) -> None:
        """`headers` carry the credentials; `user_id` is the user, None for a service; `base` begins every path."""
        self._client = app.test_client(use_cookies=False)
        self.headers = headers
        self.user_id = user_id
        self._base = base

    def call(self, method: str, path: str, **options: Any) -> TestResponse:
        """Send a request with the credentials, with a path relative to the base."""
        headers = {**self.headers, **options.pop("headers", {})}
        return self._client.open(
            f"{self._base}{path}", method=method, headers=headers, base_url="https://localhost", **options
        )

    def stream(self, method: str, path: str, **options: Any) -> TestResponse:
        """Send a request that succeeds, whose response is read piece by piece."""
        answer = self.call(method, path, buffered=False, **options)
        assert answer.status_code == 200, answer.text
        assert answer.is_streamed
        return answer

    def data(self, method: str, path: str, *, status: int = 200, **options: Any) -> Any:
        """Send a request that succeeds; return `data`."""
        answer = self.call(method, path, **options)
        assert answer.status_code == status, answer.text
        return answer.get_json().get("data")

    def error(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        """Send a request that fails; return the status and the error code."""
        answer = self.call(method, path, **options)
        assert answer.status_code >= 400, answer.text
        return answer.status_code, answer.get_json()["error"]["code"]


class Administration:
    """Creates users with roles, and services with scopes."""

    def __init__(self, app: Flask, mailbox: Mailbox) -> None:
        """`mailbox` receives the emails of all users."""
        self.app = app
        self._mailbox = mailbox
        self._services: Services = app.extensions["auth_service"]

    def user(self, email: str, *roles: str) -> AdminClient:
        """Return a client of a new user, signed in, with these roles."""
        api = ApiClient(self.app)
        user_id = api.register(email, self._mailbox, password=PASSWORD)
        self.grant(user_id, *roles)
        tokens = api.signed_in(email, PASSWORD)
        return AdminClient(self.app, {"Authorization": f"Bearer {tokens['access_token']}"}, user_id=user_id)

    def administrator(self, email: str = "admin@example.org") -> AdminClient:
        """Return a client of a new administrator."""
        return self.user(email, PORTAL_ADMIN)

    def with_permissions(self, email: str, *permissions: str) -> AdminClient:
        """Return a client of a new user who has these permissions by a role of their own."""
        name = "ROLE_OF_" + re.sub("[^A-Z0-9]", "_", email.partition("@")[0].upper())
        self.role(name, *permissions)
        return self.user(email, name)

    def role(self, name: str, *permissions: str) -> None:
        """Create a role."""
        self._as_system(
            lambda: self._services.roles.create(
                name, description=None, permissions=permissions, caller=SYSTEM, client=CLIENT
            )
        )

    def grant(self, user_id: int, *roles: str) -> None:
        """Grant roles to a user."""
        for role in roles:
            self._as_system(
                lambda role=role: self._services.roles.grant(user_id, role, caller=SYSTEM, client=CLIENT)  # type: ignore[misc]
            )

    def service(self, *scopes: str, name: str = "shop", base: str = V1) -> AdminClient:
        """Return a client of a service whose new key has these scopes."""
        key = made_key(self.app, *scopes, name=name)
        return AdminClient(self.app, {"Authorization": f"Bearer {key.value}"}, base=base)

    def _as_system(self, operation: Callable[[], object]) -> None:
        with self.app.app_context(), unit_of_work():
            operation()

    def age_session(self, user_id: int, seconds: int) -> None:
        """Move the last authentication of a user into the past."""
        with self.app.app_context(), db.engine.connect() as connection:
            connection.exec_driver_sql(
                "UPDATE sessions SET authenticated_at = now() - make_interval(secs => %s) WHERE user_id = %s",
                (seconds, user_id),
            )
