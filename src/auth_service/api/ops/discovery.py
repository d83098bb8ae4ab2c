"""Metadata for gateways and libraries (RFC 8414): where keys, token introspection and token revocation are.

Deviation: this service is not an OAuth authorization server. The document has neither `token_endpoint` nor
`authorization_endpoint`, and no supported response type.
"""

import json

from flask import Blueprint, Response

from auth_service.api.current import settings
from auth_service.api.http.responses import JSON

discovery = Blueprint("discovery", __name__, url_prefix="/.well-known")

CACHE_CONTROL = "public, max-age=3600"


@discovery.get("/oauth-authorization-server")
def metadata() -> Response:
    """Return the metadata, without the envelope of other responses."""
    issuer = settings().public_url
    document = {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "introspection_endpoint": f"{issuer}/api/v1/tokens/introspect",
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "Bearer"],
        "revocation_endpoint": f"{issuer}/api/v1/tokens/revoke",
        "revocation_endpoint_auth_methods_supported": ["none"],
        "response_types_supported": [],
        # Without this member the default of RFC 8414 would promise an authorization code flow.
        "grant_types_supported": [],
    }
    response = Response(json.dumps(document), content_type=JSON)
    response.headers["Cache-Control"] = CACHE_CONTROL
    return response
