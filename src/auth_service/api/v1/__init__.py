"""API version 1: the namespaces under `/api/v1` and `/api/srv`, and their OpenAPI document."""

from collections.abc import Sequence
from typing import Any

from flask import Blueprint

from auth_service.api.contract import openapi
from auth_service.api.contract.endpoint import Api, Namespace
from auth_service.api.contract.openapi import Deployment
from auth_service.api.contract.operations import operations
from auth_service.api.v1.account_revert import account_revert
from auth_service.api.v1.admin.audit import audit
from auth_service.api.v1.admin.emails import admin_emails
from auth_service.api.v1.admin.invitations import admin_invitations
from auth_service.api.v1.admin.password_resets import admin_users
from auth_service.api.v1.admin.sessions import admin_sessions
from auth_service.api.v1.errors import errors
from auth_service.api.v1.invitations import invitation_links
from auth_service.api.v1.login_history import login_history
from auth_service.api.v1.passkeys import account, passkeys, sessions
from auth_service.api.v1.passwords import passwords
from auth_service.api.v1.registration import registration
from auth_service.api.v1.roles import roles
from auth_service.api.v1.second_factor.enrolment import second_factor
from auth_service.api.v1.service_roles import service_roles
from auth_service.api.v1.tokens import tokens

DESCRIPTION = """
Authentication service: registration with an emailed code, sign-in, sessions and access tokens.

Every response is JSON. A success has `"success": true` with `data` or `"result": "Ok"`. An error has `"success": false`
and an `error`: its `code` is stable, its `msg` tells the client what to do next. Each endpoint lists its errors.

The registration takes six requests: look up the address, sign up, send a code, request another code if necessary,
confirm the address with the emailed code, finish. `send_code` and `resend_code` set the flow ticket, a cookie that the
browser stores. In production the last two requests need this ticket, and the service ignores client-supplied codes: it
sends a random one.

To try endpoints that require a signed-in user on the page: sign in with `"transport": "cookie"`. The browser then has
the tokens in cookies, which no script can read, and the page sends the header `X-Requested-With` with every request
that changes something, as every front end has to. Programs sign in with `"transport": "bearer"`: paste `access_token`
of the response into Authorize. An access token is valid for 15 minutes.

A request with `Accept: application/problem+json` gets errors in the form of RFC 9457 (schema `ProblemResponse`):
`type`, `title`, `status`, `instance` (the request id), `code`, and the same further members. `GET /v1/errors` lists all
codes.

Other services authenticate with a service key, which `manage.py service-keys` creates. They verify access tokens with
the keys at `/.well-known/jwks.json`.
"""


NAMESPACES: Sequence[tuple[Namespace, str]] = (
    *(
        (each, "/v1/users")
        for each in (
            registration,
            sessions,
            passwords,
            account,
            second_factor,
            passkeys,
            login_history,
            account_revert,
            invitation_links,
        )
    ),
    *((each, "/v1") for each in (roles, admin_invitations, tokens, errors)),
    *((each, "/v1/admin") for each in (admin_users, admin_sessions, admin_emails, audit)),
    (service_roles, "/srv"),
)
"""The namespaces of the API with their paths, in the order of the documents."""


def blueprint() -> Blueprint:
    """Return the blueprint of the API. A new one for each application."""
    api_blueprint = Blueprint("api", __name__, url_prefix=openapi.PREFIX)
    api = Api(doc=False, add_specs=False)
    api.init_app(api_blueprint, add_specs=False)
    for namespace, path in NAMESPACES:
        api.add_namespace(namespace, path=path)
    return api_blueprint


def openapi_document(deployment: Deployment) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    return openapi.document(
        operations(NAMESPACES),
        deployment=deployment,
        description=DESCRIPTION,
        tags={namespace.name: namespace.description for namespace, _ in NAMESPACES},
    )
