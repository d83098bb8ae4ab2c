"""A Flask service that lets in whoever is signed in at the portal, without asking the portal for each request.

    pip install flask "pyjwt[crypto]>=2.12"
    ISSUER=https://portal.example.org AUDIENCE=portal flask --app flask_app run

ISSUER is the `iss` of the tokens to the letter. Where that address cannot be reached from here, JWKS_URL names where
the keys are: http://127.0.0.1:5000/.well-known/jwks.json, for instance. Copy everything above the line.
"""

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

import jwt
from flask import Flask, g, request

ISSUER = os.environ["ISSUER"]  # PUBLIC_URL of the authentication service
AUDIENCE = os.environ["AUDIENCE"]  # its TOKEN_AUDIENCE
# Keeps the published keys for five minutes, and looks for an unknown one at most every thirty seconds.
KEYS = jwt.PyJWKClient(os.environ.get("JWKS_URL", f"{ISSUER}/.well-known/jwks.json"), timeout=3)


def claims_of(token: str) -> dict[str, Any]:
    """What a good access token says. Raises jwt.PyJWTError; of these, PyJWKClientConnectionError is not its fault."""
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
    claims: dict[str, Any] = found["payload"]
    return claims


def signed_in(view: Callable[..., Any]) -> Callable[..., Any]:
    """Let a view see only requests of people who are signed in; `g.user_id` and `g.roles` say who it is."""

    @wraps(view)
    def guarded(*arguments: Any, **named: Any) -> Any:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            claims = claims_of(token if scheme.lower() == "bearer" else "")
        except jwt.PyJWKClientConnectionError:
            return {"error": "the keys cannot be had right now"}, 503, {"Retry-After": "1"}
        except jwt.PyJWTError:
            return {"error": "sign in first"}, 401, {"WWW-Authenticate": "Bearer"}
        g.user_id, g.roles = claims["sub"], claims["roles"]
        return view(*arguments, **named)

    return guarded


# ----------------------------------------------------------------------------------------------------------------------

app = Flask(__name__)


@app.get("/whoami")
@signed_in
def whoami() -> dict[str, Any]:
    """Say who calls."""
    return {"user": g.user_id, "roles": g.roles}
