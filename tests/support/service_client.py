"""Service client: a service that introspects tokens (RFC 7662) with a service key."""

from datetime import timedelta
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from auth_service.db import unit_of_work
from auth_service.services.tokens.service_keys import NewServiceKey
from auth_service.wiring import Services

INTROSPECT = "/api/v1/tokens/introspect"


def made_key(app: Flask, *scopes: str, name: str = "shop", lives: timedelta = timedelta(days=1)) -> NewServiceKey:
    """A new key of a service."""
    services: Services = app.extensions["auth_service"]
    with app.app_context(), unit_of_work():
        return services.service_keys.create(name=name, scopes=scopes, ttl=lives)


class Shop:
    """A service that introspects the tokens of its users."""

    def __init__(self, app: Flask, key: str | None) -> None:
        self.client = app.test_client(use_cookies=False)
        self.headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    def ask(self, token: str, **more: str | None) -> TestResponse:
        """Introspect with a JSON body."""
        return self.client.post(INTROSPECT, json={"token": token, **more}, headers=self.headers)

    def ask_by_form(self, token: str, **more: str) -> TestResponse:
        """Introspect with a form, as libraries for RFC 7662 do."""
        return self.client.post(INTROSPECT, data={"token": token, **more}, headers=self.headers)

    def learns(self, token: str, **more: str) -> Any:
        """The introspection result, which has to be the same for JSON and form."""
        enveloped, plain = self.ask(token, **more), self.ask_by_form(token, **more)
        assert (enveloped.status_code, plain.status_code) == (200, 200), enveloped.text
        assert enveloped.get_json() == {"success": True, "data": plain.get_json()}
        assert plain.content_type == "application/json"
        assert plain.headers["Cache-Control"] == "no-store"
        return plain.get_json()
