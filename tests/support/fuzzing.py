"""Fuzzing by the Swagger document: its address, and the checks of every response (schemathesis)."""

from typing import Any

from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

DOCUMENT = "/api/swagger.json"
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
CHECKS_OF_VALID = [check for check in CHECKS if check is not checks.negative_data_rejection]
"""The checks of a request that a test has made valid."""


def checks_of(status: int) -> list[Any]:
    """The checks of a response. schemathesis does not know 413 as the rejection of an invalid request."""
    return CHECKS_OF_VALID if status == 413 else CHECKS


def is_administrative(path: str) -> bool:
    """Whether an operation is administrative, about reauthentication or second factors: fuzzed as an administrator.

    An authentication with a passkey is not: it answers 401 to a signed-in user, too.
    """
    words = ("/admin/", "/roles", "/permissions", "/invitations", "/reauthenticate", "/second_factor")
    return path.startswith("/srv/") or ("/passkey" not in path and any(word in path for word in words))
