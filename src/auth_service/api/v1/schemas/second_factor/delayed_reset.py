"""Request and response models of the delayed reset of second factors."""

from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import Field

from auth_service.api.http.schemas import ResponseModel
from auth_service.api.v1.schemas.fields import Code, LinkToken, RequestModel, SealedTicket, Seconds, example


class SecondFactorResetRequest(RequestModel):
    """The ticket of the first step; with the emailed code the reset is requested, without it a code is sent."""

    model_config = example(code="750505")

    ticket: Annotated[SealedTicket | None, Field(description="Absent if it is in a cookie.")] = None
    code: Annotated[Code | None, Field(description="The emailed code; without one a code is sent.")] = None


class SecondFactorResetResponse(ResponseModel):
    """When the reset takes effect; or the times of the emailed code, in whole seconds rounded up."""

    leaves_out_none: ClassVar[bool] = True

    effective_at: Annotated[
        datetime | None, Field(description="When the reset takes effect; absent if a code was sent.")
    ] = None
    expires_in: Annotated[
        Seconds | None, Field(description="Seconds until the code expires, if one was sent.", examples=[600])
    ] = None
    resend_after: Annotated[
        Seconds | None,
        Field(description="Seconds until the next code can be requested, if one was sent.", examples=[0]),
    ] = None


class CancelSecondFactorResetRequest(RequestModel):
    """The token of a cancel link."""

    token: LinkToken
