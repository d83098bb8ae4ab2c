"""Verifies access tokens (JWT) in a Flask service, locally, without a request to the portal for each token.

    pip install flask "pyjwt[crypto]>=2.12"
    ISSUER=https://portal.example.org AUDIENCE=portal flask --app flask_app run

ISSUER is exactly the `iss` of the tokens. If that address cannot be reached from here, set JWKS_URL to the address of
the keys, for example http://127.0.0.1:5000/.well-known/jwks.json. Copy everything above the line.
"""

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

import jwt
from flask import Flask, g, request

ISSUER = os.environ["ISSUER"]  # PUBLIC_URL of the authentication service
AUDIENCE = os.environ["AUDIENCE"]  # its TOKEN_AUDIENCE
# Caches the keys for five minutes; fetches them again for an unknown `kid`, at most every thirty seconds.
KEYS = jwt.PyJWKClient(os.environ.get("JWKS_URL", f"{ISSUER}/.well-known/jwks.json"), timeout=3)


def claims_of(token: str) -> dict[str, Any]:
    """Claims of a valid access token. Raises jwt.PyJWTError; PyJWKClientConnectionError: the keys cannot be fetched."""
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
    claims: dict[str, Any] = found["payload"]
    return claims


def signed_in(view: Callable[..., Any]) -> Callable[..., Any]:
    """Protects a view: 401 without a valid access token; sets `g.user_id` and `g.roles`."""

    @wraps(view)
    def guarded(*arguments: Any, **named: Any) -> Any:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            claims = claims_of(token.strip() if scheme.lower() == "bearer" else "")
        except jwt.PyJWKClientConnectionError:
            return {"error": "the keys of the portal cannot be fetched; try again"}, 503, {"Retry-After": "1"}
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
    """Return the current user."""
    return {"user": g.user_id, "roles": g.roles}
