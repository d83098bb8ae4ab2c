"""What other services read before they have a token to show: the public keys."""

import json

from flask import Blueprint, Response, request

from auth_service.api.current import services
from auth_service.api.http.responses import JSON
from auth_service.services.tokens.signing_keys import JWKS_MAX_AGE

well_known = Blueprint("well_known", __name__, url_prefix="/.well-known")

CACHE_CONTROL = f"public, max-age={JWKS_MAX_AGE.total_seconds():.0f}"


@well_known.get("/jwks.json")
def jwks() -> Response:
    """The keys that access tokens are verified with (RFC 7517), in the shape that verifiers expect.

    For servers: pages of other origins than those of CORS_ORIGINS cannot read it, as they can read nothing else here.
    """
    answer = Response(json.dumps(services().signing_keys.for_verification().jwks()), content_type=JSON)
    answer.headers["Cache-Control"] = CACHE_CONTROL
    answer.add_etag()
    answer.make_conditional(request)
    return answer
