"""Request and response models of the registration."""

from typing import Annotated

from pydantic import Field

from auth_service.api.http.schemas import ResponseModel
from auth_service.api.v1.schemas.fields import (
    EXAMPLE_PASSWORD,
    Code,
    Email,
    NewPassword,
    RequestModel,
    Seconds,
    example,
)


class LookUpQuery(RequestModel):
    """The email address to look up."""

    email: Email


class SignUpRequest(RequestModel):
    """The email address to register."""

    email: Email


class SendCodeRequest(RequestModel):
    """A client-supplied code, or an empty object for a random one."""

    model_config = example(code="7505")

    code: Annotated[
        Code | None,
        Field(
            description="A client-supplied code: four to eight ASCII digits. An integer is accepted, too. In "
            "production it is ignored, unless the request has a service key of scope `registration:code`."
        ),
    ] = None


class ConfirmEmailRequest(RequestModel):
    """The emailed code."""

    code: Code


class FinishRegistrationRequest(RequestModel):
    """The password of the new user; without one, the user signs in with emailed codes."""

    model_config = example(password=EXAMPLE_PASSWORD)

    password: NewPassword | None = None


class UserResponse(ResponseModel):
    """The public data of a user, which registration and look-up show to anonymous clients."""

    id: Annotated[int, Field(ge=1, le=2**53 - 1, examples=[308866])]
    email: Annotated[str, Field(examples=["sgsf@sgfg.ru"])]
    roles: Annotated[list[str], Field(examples=[["ROLE_TEMPORARY_USER"]])]
    verified_mail: bool


class CodeSentResponse(ResponseModel):
    """The times of an emailed code, in whole seconds rounded up."""

    expires_in: Annotated[Seconds, Field(description="Seconds until the code expires.", examples=[600])]
    resend_after: Annotated[Seconds, Field(description="Seconds until the next code can be requested.", examples=[0])]
