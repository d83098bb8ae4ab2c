"""Requests to every endpoint with a contract, each with the credentials that its access rule requires."""

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from flask import Flask
from pydantic import BaseModel
from werkzeug.test import TestResponse

from auth_service.api.contract.contract import Contract
from auth_service.cli.service_keys import service_keys
from tests.support.contracts import contracts


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """A method of a path, with its contract."""

    method: str
    path: str
    """With values for the parameters of the route."""
    contract: Contract

    @property
    def models(self) -> list[type[BaseModel]]:
        """The request models."""
        contract = self.contract
        return [model for model in (contract.query, contract.body, contract.query_or_body) if model]

    @property
    def fields(self) -> set[str]:
        """The names of all fields and parameters."""
        return {name for model in self.models for name in model.model_fields}


def endpoints(app: Flask) -> Iterator[Endpoint]:
    """Every endpoint with a contract; ids in paths belong to no user and no session."""
    for method, rule, contract in contracts(app):
        if contract:
            path = re.sub(r"<user_id:\w+>", "1", re.sub(r"<role_name:\w+>", "ROLE_UNKNOWN", rule))
            path = re.sub(r"<uuid:\w+>", str(uuid.uuid4()), path)
            yield Endpoint(method=method, path=path, contract=contract)


@dataclass(kw_only=True, slots=True)
class Prober:
    """Sends requests with an access token of a user, or with a service key."""

    app: Flask
    service_key: str
    sign_in: Callable[[], str]
    """Returns a new access token of the user."""
    access_token: str = ""

    def send(self, endpoint: Endpoint, **options: Any) -> TestResponse:
        """Send a request: `query_string`, `json` or `data` as for the test client of Flask.

        An earlier request may have revoked the session: then the request is repeated with a new one.
        """
        access = endpoint.contract.access
        if access.is_open:
            return self._send(endpoint, None, **options)
        if access.takes_service_key and not access.needs_token:
            return self._send(endpoint, self.service_key, **options)
        answer = self._send(endpoint, self.access_token, **options)
        if answer.status_code == 401:
            self.access_token = self.sign_in()
            answer = self._send(endpoint, self.access_token, **options)
        return answer

    def _send(self, endpoint: Endpoint, credentials: str | None, **options: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {credentials}"} if credentials else {}
        client = self.app.test_client(use_cookies=False)
        return client.open(endpoint.path, method=endpoint.method, headers=headers, **options)

    def send_values(self, endpoint: Endpoint, values: dict[str, Any]) -> TestResponse:
        """Send values as the query string or as the JSON body, whichever the contract declares."""
        return self.send(endpoint, **({"query_string": values} if endpoint.contract.query else {"json": values}))


def new_service_key(app: Flask, *scopes: str) -> str:
    """The value of a new service key."""
    arguments = ["create", "prober", *(part for scope in scopes for part in ("--scope", scope))]
    return str(app.test_cli_runner().invoke(service_keys, arguments).stdout.strip())
