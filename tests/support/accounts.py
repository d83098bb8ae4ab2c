"""Accounts for measurements: registered through the API of one application as they are needed."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from flask import Flask
from flask.testing import FlaskCliRunner
from werkzeug.test import TestResponse

from auth_service.cli.service_keys import service_keys
from tests.support.actors import ApiClient, Mailbox

PASSWORD, OTHER_PASSWORD, WRONG_PASSWORD = "correct horse battery", "another horse battery", "a wrong password"


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountSettings:
    """A signed-in user and their API client."""

    api: ApiClient
    id: int
    email: str
    tokens: dict[str, Any]

    def call(self, method: str, path: str, **options: Any) -> TestResponse:
        """A request with the access token."""
        return self.api.with_token(self.tokens["access_token"], method, path, **options)


@dataclass
class Accounts:
    """Accounts of one application, registered as they are needed."""

    app: Flask
    mailbox: Mailbox
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def address(self) -> str:
        """An email address that no account has."""
        return f"user{next(self._numbers)}@example.org"

    def api(self, **options: Any) -> ApiClient:
        """An API client without cookies."""
        return ApiClient(self.app, **options)

    def temporary(self) -> tuple[ApiClient, int, str]:
        """A temporary user: the API client, the id, the address."""
        api, email = self.api(), self.address()
        return api, api.sign_up(email), email

    def account(self) -> AccountSettings:
        """A new account, for requests that change it."""
        api, email = self.api(), self.address()
        user_id = api.register(email, self.mailbox, password=PASSWORD)
        return AccountSettings(api=api, id=user_id, email=email, tokens=api.signed_in(email, PASSWORD))

    @cached_property
    def schema_state(self) -> AccountSettings:
        """A shared account, for requests that do not change it."""
        return self.account()

    @cached_property
    def service_key(self) -> str:
        """A service key with the scope to introspect tokens, whose use was recorded within this minute."""
        runner: FlaskCliRunner = self.app.test_cli_runner()
        arguments = ["create", "shop", "--scope", "tokens:introspect", "--days", "30"]
        return str(runner.invoke(service_keys, arguments).stdout.strip())

    def emailed(self, email: str) -> str:
        """The newest code that was emailed to an address."""
        return self.mailbox.code_sent_to(email)

    def get(self, path: str, **headers: str) -> TestResponse:
        """A GET request to any path."""
        return self.app.test_client(use_cookies=False).get(path, headers=headers)
