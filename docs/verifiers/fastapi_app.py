"""Verifies access tokens (JWT) in a FastAPI service, locally, without a request to the portal for each token.

    pip install fastapi uvicorn ./src/auth_service_verifier
    ISSUER=https://portal.example.org AUDIENCE=portal uvicorn fastapi_app:app

ISSUER is exactly the `iss` of the tokens. If that address cannot be reached from here, set JWKS_URL to the address of
the keys, for example http://127.0.0.1:5000/.well-known/jwks.json.
"""

import os
from typing import Annotated, Any

from fastapi import Depends, FastAPI

from auth_service_verifier import AccessToken, Verifier
from auth_service_verifier.fastapi import signed_in

ISSUER = os.environ["ISSUER"]  # PUBLIC_URL of the authentication service
JWKS_URL = os.environ.get("JWKS_URL", f"{ISSUER}/.well-known/jwks.json")
verifier = Verifier(JWKS_URL, ISSUER, os.environ["AUDIENCE"])  # TOKEN_AUDIENCE of the authentication service

SignedIn = Annotated[
    AccessToken, Depends(signed_in(verifier))
]  # more: acr="aal2", max_age=600, permission="films:edit"

app = FastAPI()


@app.get("/whoami")
def whoami(token: SignedIn) -> dict[str, Any]:
    """Return the current user."""
    return {"user": str(token.user_id), "roles": token.roles}
