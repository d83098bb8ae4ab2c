"""Version 1 of the API: the page at /api/swagger and the namespaces under /api/v1."""

from flask import Blueprint

from auth_service.api.swagger import DocumentedApi
from auth_service.api.v1.account import account
from auth_service.api.v1.history import history
from auth_service.api.v1.passwords import passwords
from auth_service.api.v1.registration import registration
from auth_service.api.v1.sessions import sessions
from auth_service.api.v1.tokens import tokens
from auth_service.api.v1.undos import undos
from auth_service.settings import Settings

DESCRIPTION = """
Registers people by a mailed code, signs them in and says who they are.

Every answer is JSON. A success says `"success": true` with `data` or `"result": "Ok"`; a refusal says
`"success": false` with an `error` whose `code` is stable and whose `msg` is a sentence. Each endpoint lists the
refusals that it can give.

The registration in six requests: look the address up, sign up, send a code, bring the code from the letter, ask for
another one if need be, finish. `send_code` and `resend_code` set the registration ticket, a cookie that the browser
keeps by itself; where the service runs in production the last two steps count only for its holder, and codes in
`send_code` are ignored: the service mails one of its own.

To try what needs somebody signed in: sign in, copy `access_token` from the answer, and give it to Authorize. It is good
for 15 minutes. A browser may have its tokens in cookies instead, which no script can read: it signs in with
`"transport": "cookie"` and sends `X-Requested-With` with whatever changes something.

Other services call with a service key, which `manage.py service-keys` makes; they verify access tokens themselves with
the keys at `/.well-known/jwks.json`.
"""


def blueprint(settings: Settings) -> Blueprint:
    """The versioned blueprint, made anew for each application."""
    made = Blueprint("api", __name__, url_prefix="/api")
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
                "description": "The access token that a sign-in gave, after `Bearer `.",
            },
            "service": {
                "type": "apiKey",
                "in": "header",
                "name": "Authorization",
                "description": "A service key, `svc_…`, after `Bearer `.",
            },
            "service_basic": {
                "type": "basic",
                "description": "A service key as the password (RFC 6749, 2.3.1); whatever the user name is.",
            },
        },
    )
    api.init_app(made, add_specs=settings.swagger_page)
    if settings.swagger_page:
        made.add_url_rule("/swagger", "doc", api.swagger_page)
    for namespace in (registration, sessions, passwords, account, history, undos):
        api.add_namespace(namespace, path="/v1/users")
    api.add_namespace(tokens, path="/v1")
    return made
