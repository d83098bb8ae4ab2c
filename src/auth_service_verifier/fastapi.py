"""Dependency for FastAPI: `Depends(signed_in(verifier, permission="films:edit"))`."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPBearer

from auth_service_verifier.access_token import AccessToken
from auth_service_verifier.errors import VerificationError
from auth_service_verifier.verifier import Verifier, bearer_token

_BEARER = HTTPBearer(auto_error=False)
"""Describes the bearer token in the OpenAPI document; `bearer_token` reads the header."""


def signed_in(
    verifier: Verifier, *, acr: str | None = None, max_age: int | None = None, permission: str | None = None
) -> Callable[..., AccessToken]:
    """Return a dependency: the verified access token of the request.

    Other requests get the error of the verification as `detail`. Raises ConfigurationError, at the start already.
    """
    required = verifier.requirements(acr=acr, max_age=max_age, permission=permission)

    # Not `async`: FastAPI runs it in a thread, so that a request for the keys does not block other requests.
    def access_token(request: Request, _: Annotated[object, Depends(_BEARER)]) -> AccessToken:
        try:
            return verifier.verify_all(bearer_token(request.headers.get("Authorization")), required)
        except VerificationError as error:
            raise HTTPException(error.status, error.body(), error.headers()) from None

    return access_token
