"""Decorator for Flask views: `signed_in(verifier, permission="films:edit")`."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from flask import g, request

from auth_service_verifier.access_token import AccessToken
from auth_service_verifier.errors import VerificationError
from auth_service_verifier.verifier import Verifier, bearer_token

View = TypeVar("View", bound=Callable[..., Any])


def signed_in(
    verifier: Verifier, *, acr: str | None = None, max_age: int | None = None, permission: str | None = None
) -> Callable[[View], Callable[..., Any]]:
    """Return a decorator: the view runs only with a valid access token, which `current_token()` returns.

    Other requests get the error of the verification as JSON. Raises ConfigurationError, at the start already.
    """
    required = verifier.requirements(acr=acr, max_age=max_age, permission=permission)

    def decorator(view: View) -> Callable[..., Any]:
        @wraps(view)
        def authorized(*arguments: Any, **named: Any) -> Any:
            try:
                g.access_token = verifier.verify_all(bearer_token(request.headers.get("Authorization")), required)
            except VerificationError as error:
                return {"error": error.body()}, error.status, error.headers()
            return view(*arguments, **named)

        return authorized

    return decorator


def current_token() -> AccessToken:
    """Return the access token of the current request, in a view that `signed_in` protects."""
    access_token: AccessToken = g.access_token
    return access_token
