"""List of error codes: what `error.code` of any response can be."""

from flask_restx import Resource

from auth_service.api.contract.endpoint import Namespace
from auth_service.api.http.responses import status_of
from auth_service.api.security.authentication import anyone
from auth_service.api.v1.schemas.errors import ErrorCodeResponse
from auth_service.errors import error_classes
from auth_service.services.pagination import Page

errors = Namespace("errors", description="All error codes.")

ERROR_CODES = sorted(
    (
        ErrorCodeResponse(code=error.code, status=status_of(error), description=error.message)
        for error in error_classes()
    ),
    key=lambda error: (error.status, error.code),
)


@errors.route("/errors")
class Errors(Resource):
    """All error codes."""

    @errors.contract(
        operation="list_errors",
        summary="List all error codes, with their HTTP status",
        description="`type` of problem details (RFC 9457) is the address of this list, with the code after `#`.",
        access=anyone,
        items=ErrorCodeResponse,
    )
    def get(self) -> Page[ErrorCodeResponse]:
        return Page(items=ERROR_CODES)
