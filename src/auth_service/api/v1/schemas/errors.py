"""Response model of the list of error codes."""

from typing import Annotated

from pydantic import Field

from auth_service.api.http.schemas import ResponseModel


class ErrorCodeResponse(ResponseModel):
    """An error code."""

    code: Annotated[str, Field(description="Stable; clients compare it.")]
    status: Annotated[int, Field(ge=400, le=599, description="The HTTP status.")]
    description: Annotated[str, Field(description="In English: what to do next.")]
