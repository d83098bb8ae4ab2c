"""`python -OO` report: errors, Swagger document and a few answers of the API as data, printed by a program."""

import json
import sys
from typing import Any

from flask import Flask

from auth_service.api.http.responses import error_body, status_of
from auth_service.app import create_app
from auth_service.errors import ServiceError, error_classes
from auth_service.settings import Settings


def report(app: Flask, *, email: str) -> dict[str, Any]:
    """Every rendered error, the Swagger document, and answers, one of them to a sign-up of `email`."""
    client = app.test_client()

    def answer(method: str, path: str, **options: Any) -> list[Any]:
        response = client.open(path, method=method, **options)
        return [response.status_code, (response.json or {}).get("error")]

    sign_up = {"json": {"email": email}}
    return {
        "docstring": ServiceError.__doc__,
        "errors": {error.code: [status_of(error), json.loads(error_body(error()))] for error in error_classes()},
        "answers": [
            answer("POST", "/api/v1/users/sign_up", **sign_up),
            answer("POST", "/api/v1/users/sign_up", **sign_up),
            answer("GET", "/api/v1/users?email=unknown@example.org"),
            answer("GET", "/api/v1/users?email=unknown"),
            answer("GET", "/api/v1/users/me"),
            answer("GET", "/nowhere"),
            answer("PUT", "/health/live"),
        ],
        "document": client.get("/api/swagger.json").json,
    }


if __name__ == "__main__":
    json.dump(report(create_app(Settings.read(env_file=None)), email=sys.argv[1]), sys.stdout)
