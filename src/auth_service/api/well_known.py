"""What other services read before they have a token to show: the public keys."""

import json

from flask import Blueprint, Response

from auth_service.api.contract import services
from auth_service.api.envelope import JSON

well_known = Blueprint("well_known", __name__, url_prefix="/.well-known")

FRESH_SECONDS = 300
"""Far less than a key is published before it signs, so that nobody's copy lacks the key of a good token."""


@well_known.get("/jwks.json")
def jwks() -> Response:
    """The keys that access tokens are verified with (RFC 7517), in the shape that verifiers expect."""
    answer = Response(json.dumps(services().keyring.now().jwks()), content_type=JSON)
    answer.headers["Cache-Control"] = f"public, max-age={FRESH_SECONDS}"
    return answer
