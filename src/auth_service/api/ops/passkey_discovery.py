"""Discovery for browsers and password managers: passkey endpoints, change-password URL, related origins of passkeys."""

import json
from typing import Any

from flask import Blueprint, Response

from auth_service.api.current import settings
from auth_service.api.http.responses import JSON
from auth_service.errors import PathUnknown

passkey_discovery = Blueprint("passkey_discovery", __name__, url_prefix="/.well-known")

CACHE_CONTROL = "public, max-age=3600"


def _security_page() -> str:
    """Return the address of the page with the password and the passkeys. Raises PathUnknown without a front end."""
    front_end = settings().front_end_url
    if front_end is None:
        raise PathUnknown
    return f"{front_end}/security"


def _public(document: dict[str, Any]) -> Response:
    """Answer with a document without the envelope of other responses, as its standard describes it."""
    response = Response(json.dumps(document), content_type=JSON)
    response.headers["Cache-Control"] = CACHE_CONTROL
    return response


@passkey_discovery.get("/passkey-endpoints")
def passkey_endpoints() -> Response:
    """Return where users add and manage passkeys (W3C: A Well-Known URL for Passkey Endpoints)."""
    page = _security_page()
    return _public({"enroll": page, "manage": page})


@passkey_discovery.get("/change-password")
def change_password() -> Response:
    """Redirect to the page on which users change the password (W3C: A Well-Known URL for Changing Passwords)."""
    return Response(status=302, headers={"Location": _security_page()})


@passkey_discovery.get("/webauthn")
def related_origins() -> Response:
    """Return the origins of other sites that may use the passkeys (WebAuthn Level 3, 5.11). Raises PathUnknown."""
    origins = settings().related_origins
    if not origins:
        raise PathUnknown
    return _public({"origins": origins})
