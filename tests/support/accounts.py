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
from tests.support.administration import AdminClient, Administration

PASSWORD, OTHER_PASSWORD, WRONG_PASSWORD = "correct horse battery", "another horse battery", "a wrong password"


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedInAccount:
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

    def account(self) -> SignedInAccount:
        """A new account, for requests that change it."""
        api, email = self.api(), self.address()
        user_id = api.register(email, self.mailbox, password=PASSWORD)
        return SignedInAccount(api=api, id=user_id, email=email, tokens=api.signed_in(email, PASSWORD))

    @cached_property
    def shared(self) -> SignedInAccount:
        """A shared account, for requests that do not change it."""
        return self.account()

    @cached_property
    def service_key(self) -> str:
        """A service key with the scope to introspect tokens, whose use was recorded within this minute."""
        runner: FlaskCliRunner = self.app.test_cli_runner()
        arguments = ["create", "shop", "--scope", "tokens:introspect", "--days", "30"]
        return str(runner.invoke(service_keys, arguments).stdout.strip())

    @cached_property
    def administrator(self) -> AdminClient:
        """An administrator who has just signed in."""
        return Administration(self.app, self.mailbox).administrator(self.address())

    @cached_property
    def role_service(self) -> AdminClient:
        """A service whose key may read, change and grant roles and read users."""
        scopes = ("roles:read", "roles:write", "roles:grant", "users:read", "films:edit")
        return Administration(self.app, self.mailbox).service(*scopes, name="roles", base="/api/srv")

    def role_name(self) -> str:
        """A role name that no role has."""
        return f"ROLE_NUMBER_{next(self._numbers)}"

    def role(self) -> str:
        """A new role with one permission."""
        name = self.role_name()
        Administration(self.app, self.mailbox).role(name, "films:edit")
        return name

    def invitation(self) -> tuple[str, str]:
        """A new invitation with one role: the id and the token of its link."""
        email = self.address()
        body = {"email": email, "roles": [self.role()]}
        invitation = self.administrator.data("POST", "/invitations", json=body, status=201)
        return invitation["id"], self.mailbox.invitation_sent_to(email)

    def emailed(self, email: str) -> str:
        """The newest code that was emailed to an address."""
        return self.mailbox.code_sent_to(email)

    def get(self, path: str, **headers: str) -> TestResponse:
        """A GET request to any path."""
        return self.app.test_client(use_cookies=False).get(path, headers=headers)
