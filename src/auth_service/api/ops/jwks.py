"""JWKS endpoint: the public keys that other services verify access tokens with."""

import json

from flask import Blueprint, Response, request

from auth_service.api.current import services
from auth_service.api.http.responses import JSON
from auth_service.services.tokens.signing_keys import JWKS_MAX_AGE

well_known = Blueprint("well_known", __name__, url_prefix="/.well-known")

CACHE_CONTROL = f"public, max-age={JWKS_MAX_AGE.total_seconds():.0f}"


@well_known.get("/jwks.json")
def jwks() -> Response:
    """Return the JSON Web Key Set (RFC 7517), without the envelope of other responses.

    For servers: browsers let pages read it only if their origin is in CORS_ORIGINS.
    """
    response = Response(json.dumps(services().signing_keys.for_verification().jwks()), content_type=JSON)
    response.headers["Cache-Control"] = CACHE_CONTROL
    response.add_etag()
    response.make_conditional(request)
    return response
