"""Verifies access tokens (JWT) in a Flask service, locally, without a request to the portal for each token.

    pip install flask ./src/auth_service_verifier
    ISSUER=https://portal.example.org AUDIENCE=portal flask --app flask_app run

ISSUER is exactly the `iss` of the tokens. If that address cannot be reached from here, set JWKS_URL to the address of
the keys, for example http://127.0.0.1:5000/.well-known/jwks.json.
"""

import os
from typing import Any

from flask import Flask

from auth_service_verifier import Verifier
from auth_service_verifier.flask import current_token, signed_in

ISSUER = os.environ["ISSUER"]  # PUBLIC_URL of the authentication service
JWKS_URL = os.environ.get("JWKS_URL", f"{ISSUER}/.well-known/jwks.json")
verifier = Verifier(JWKS_URL, ISSUER, os.environ["AUDIENCE"])  # TOKEN_AUDIENCE of the authentication service

app = Flask(__name__)


@app.get("/whoami")
@signed_in(verifier)  # more: acr="aal2", max_age=600, permission="films:edit"
def whoami() -> dict[str, Any]:
    """Return the current user."""
    token = current_token()
    return {"user": str(token.user_id), "roles": token.roles}
