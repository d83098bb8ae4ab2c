"""A FastAPI service that lets in whoever is signed in at the portal, without asking the portal for each request.

    pip install fastapi uvicorn "pyjwt[crypto]>=2.12"
    ISSUER=https://portal.example.org AUDIENCE=portal uvicorn fastapi_app:app

ISSUER is the `iss` of the tokens to the letter. Where that address cannot be reached from here, JWKS_URL names where
the keys are: http://127.0.0.1:5000/.well-known/jwks.json, for instance. Copy everything above the line.
"""

import os
from dataclasses import dataclass
from typing import Annotated, Any

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

ISSUER = os.environ["ISSUER"]  # PUBLIC_URL of the authentication service
AUDIENCE = os.environ["AUDIENCE"]  # its TOKEN_AUDIENCE
# Keeps the published keys for five minutes, and looks for an unknown one at most every thirty seconds.
KEYS = jwt.PyJWKClient(os.environ.get("JWKS_URL", f"{ISSUER}/.well-known/jwks.json"), timeout=3)

bearer = HTTPBearer(auto_error=False)


@dataclass(frozen=True)
class Person:
    """Whoever calls."""

    user_id: str
    roles: list[str]


# Not `async`: FastAPI then runs it in a thread, where fetching the keys holds nobody else up.
def signed_in(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> Person:
    """Whoever is signed in and calls; everybody else hears 401."""
    try:
        token = credentials.credentials if credentials else ""
        found = jwt.decode_complete(
            token,
            KEYS.get_signing_key_from_jwt(token),
            algorithms=["ES256"],  # never the one that the token names
            issuer=ISSUER,
            audience=AUDIENCE,
            leeway=30,
            options={"require": ["iss", "aud", "sub", "sid", "iat", "exp", "roles"], "strict_aud": True},
        )
        if found["header"].get("typ") != "at+jwt":  # the portal may sign other things with the same keys
            raise jwt.InvalidTokenError("not an access token")
    except jwt.PyJWKClientConnectionError:
        raise HTTPException(503, "the keys cannot be had right now", {"Retry-After": "1"}) from None
    except jwt.PyJWTError:
        raise HTTPException(401, "sign in first", {"WWW-Authenticate": "Bearer"}) from None
    return Person(user_id=found["payload"]["sub"], roles=found["payload"]["roles"])


# ----------------------------------------------------------------------------------------------------------------------

app = FastAPI()


@app.get("/whoami")
def whoami(person: Annotated[Person, Depends(signed_in)]) -> dict[str, Any]:
    """Say who calls."""
    return {"user": person.user_id, "roles": person.roles}
