"""Problem details (RFC 9457): the form of an error that a client requests with `Accept: application/problem+json`."""

import json

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from auth_service.api.http.responses import JSON, error_body, error_members, status_of
from auth_service.errors import ServiceError

PROBLEM = "application/problem+json"

ERRORS_PATH = "/api/v1/errors"
"""The list of all errors, to which `type` refers."""


def wants_problem(accept: str) -> bool:
    """Whether an `Accept` header requests problem details.

    It has to name the media type, because a wildcard is no request for a form that other clients do not expect, and
    with a quality value (`q`) above 0 that is not below the one of JSON.
    """
    if PROBLEM not in accept.lower():
        return False
    accepted = parse_accept_header(accept, MIMEAccept)
    named = [quality for media_type, quality in accepted if media_type.partition(";")[0].strip().lower() == PROBLEM]
    return bool(named) and max(named) > 0 and max(named) >= accepted[JSON]


def requested_form(error: ServiceError, *, accept: str, public_url: str, request_id: str) -> tuple[str, str]:
    """Return the body of an error response and its content type, in the form that an `Accept` header requests."""
    if wants_problem(accept):
        return problem_body(error, public_url=public_url, request_id=request_id), PROBLEM
    return error_body(error), JSON


def problem_body(error: ServiceError, *, public_url: str, request_id: str) -> str:
    """Return the body of an error response as problem details, with the further members of the error."""
    members = error_members(error)
    problem = {
        "type": f"{public_url}{ERRORS_PATH}#{error.code}",
        "title": members.pop("msg"),
        "status": status_of(type(error)),
        "instance": request_id,
        **members,
    }
    return json.dumps(problem) + "\n"
