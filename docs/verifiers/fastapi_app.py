"""Verifies access tokens (JWT) in a FastAPI service, locally, without a request to the portal for each token.

    pip install fastapi uvicorn "pyjwt[crypto]>=2.12"
    ISSUER=https://portal.example.org AUDIENCE=portal uvicorn fastapi_app:app

ISSUER is exactly the `iss` of the tokens. If that address cannot be reached from here, set JWKS_URL to the address of
the keys, for example http://127.0.0.1:5000/.well-known/jwks.json. Copy everything above the line.
"""

import os
from dataclasses import dataclass
from typing import Annotated, Any

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

ISSUER = os.environ["ISSUER"]  # PUBLIC_URL of the authentication service
AUDIENCE = os.environ["AUDIENCE"]  # its TOKEN_AUDIENCE
# Caches the keys for five minutes; fetches them again for an unknown `kid`, at most every thirty seconds.
KEYS = jwt.PyJWKClient(os.environ.get("JWKS_URL", f"{ISSUER}/.well-known/jwks.json"), timeout=3)

bearer = HTTPBearer(auto_error=False)


@dataclass(frozen=True)
class CurrentUser:
    """The user of a valid access token."""

    user_id: str
    roles: list[str]


# Not `async`: FastAPI runs it in a thread, so that fetching the keys does not block other requests.
def signed_in(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> CurrentUser:
    """The current user; 401 without a valid access token."""
    try:
        token = credentials.credentials if credentials else ""
        found = jwt.decode_complete(
            token,
            KEYS.get_signing_key_from_jwt(token),
            algorithms=["ES256"],  # never the algorithm that the token names (RFC 8725, 3.1)
            issuer=ISSUER,
            audience=AUDIENCE,
            leeway=30,
            options={"require": ["iss", "aud", "sub", "sid", "iat", "exp", "roles"], "strict_aud": True},
        )
        if found["header"].get("typ") != "at+jwt":  # the same keys may sign other kinds of tokens (RFC 8725, 3.11)
            raise jwt.InvalidTokenError("not an access token")
    except jwt.PyJWKClientConnectionError:
        raise HTTPException(503, "the keys of the portal cannot be fetched; try again", {"Retry-After": "1"}) from None
    except jwt.PyJWTError:
        raise HTTPException(401, "sign in first", {"WWW-Authenticate": "Bearer"}) from None
    return CurrentUser(user_id=found["payload"]["sub"], roles=found["payload"]["roles"])


# ----------------------------------------------------------------------------------------------------------------------

app = FastAPI()


@app.get("/whoami")
def whoami(user: Annotated[CurrentUser, Depends(signed_in)]) -> dict[str, Any]:
    """Return the current user."""
    return {"user": user.user_id, "roles": user.roles}
