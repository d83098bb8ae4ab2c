"""API version 1: the Swagger page at `/api/swagger` and the namespaces under `/api/v1`."""

from flask import Blueprint

from auth_service.api.contract.swagger import DocumentedApi
from auth_service.api.v1.account_revert import account_revert
from auth_service.api.v1.admin.audit import audit
from auth_service.api.v1.admin.emails import admin_emails
from auth_service.api.v1.admin.invitations import admin_invitations
from auth_service.api.v1.admin.password_resets import admin_users
from auth_service.api.v1.admin.sessions import admin_sessions
from auth_service.api.v1.invitations import invitation_links
from auth_service.api.v1.login_history import login_history
from auth_service.api.v1.passwords import passwords
from auth_service.api.v1.reauthentication import account
from auth_service.api.v1.registration import registration
from auth_service.api.v1.roles import roles
from auth_service.api.v1.service_roles import service_roles
from auth_service.api.v1.sessions import sessions
from auth_service.api.v1.tokens import tokens
from auth_service.settings import Settings

DESCRIPTION = """
Authentication service: registration with an emailed code, sign-in, sessions and access tokens.

Every response is JSON. A success has `"success": true` with `data` or `"result": "Ok"`. An error has `"success": false`
and an `error`: its `code` is stable, its `msg` tells the client what to do next. Each endpoint lists its errors.

The registration takes six requests: look up the address, sign up, send a code, request another code if necessary,
confirm the address with the emailed code, finish. `send_code` and `resend_code` set the flow ticket, a cookie that the
browser stores. In production the last two requests need this ticket, and the service ignores client-supplied codes: it
sends a random one.

To try endpoints that require a signed-in user: sign in, copy `access_token` from the response, and paste it into
Authorize. The token is valid for 15 minutes. Browsers can have the tokens in cookies, which no script can read: they
sign in with `"transport": "cookie"` and send the header `X-Requested-With` with every request that changes something.

Other services authenticate with a service key, which `manage.py service-keys` creates. They verify access tokens with
the keys at `/.well-known/jwks.json`.
"""


def blueprint(settings: Settings) -> Blueprint:
    """Return the blueprint of the API. A new one for each application: its title and password rules are settings."""
    api_blueprint = Blueprint("api", __name__, url_prefix="/api")
    api = DocumentedApi(
        shortest_password=settings.password_min_length,
        title=f"{settings.service_name}: authentication",
        description=DESCRIPTION,
        version="1",
        doc=False,
        add_specs=settings.swagger_page,
        authorizations={
            "bearer": {
                "type": "apiKey",
                "in": "header",
                "name": "Authorization",
                "description": "`Bearer ` and the access token of a sign-in.",
            },
            "service": {
                "type": "apiKey",
                "in": "header",
                "name": "Authorization",
                "description": "`Bearer ` and a service key (`svc_…`).",
            },
            "service_basic": {
                "type": "basic",
                "description": "The service key as the password, with any user name (RFC 6749, 2.3.1).",
            },
        },
    )
    api.init_app(api_blueprint, add_specs=settings.swagger_page)
    if settings.swagger_page:
        api_blueprint.add_url_rule("/swagger", "doc", api.swagger_page)
    for namespace in (registration, sessions, passwords, account, login_history, account_revert, invitation_links):
        api.add_namespace(namespace, path="/v1/users")
    for namespace in (roles, admin_invitations, tokens):
        api.add_namespace(namespace, path="/v1")
    for namespace in (admin_users, admin_sessions, admin_emails, audit):
        api.add_namespace(namespace, path="/v1/admin")
    api.add_namespace(service_roles, path="/srv")
    return api_blueprint
