"""The forms and cards of the registration."""

from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field

from auth_service.api.http.schemas import ResponseModel
from auth_service.api.v1.schemas.fields import Code, Email, NewPassword, RequestModel


def _whole_seconds(value: timedelta) -> int:
    return -int(-value.total_seconds() // 1)


Seconds = Annotated[int, Field(ge=0), BeforeValidator(_whole_seconds)]


class LookUpQuery(RequestModel):
    """Who is asked about."""

    email: Email


class SignUpRequest(RequestModel):
    """Somebody who wants to register."""

    email: Email


class CodeRequest(RequestModel):
    """A client-supplied code, or none."""

    code: Annotated[
        Code | None,
        Field(
            description="A client-supplied code: four to eight ASCII digits, as a string or as an integer. In "
            "production it is ignored, unless a service key of scope `registration:code` comes with it."
        ),
    ] = None


class GuessRequest(RequestModel):
    """A code that came by mail."""

    code: Code


class FinishRequest(RequestModel):
    """A password, if one is wanted."""

    password: NewPassword | None = None


class UserResponse(ResponseModel):
    """A user, as a stranger may see one."""

    id: Annotated[int, Field(ge=1, le=2**53 - 1, examples=[308866])]
    email: Annotated[str, Field(examples=["sgsf@sgfg.ru"])]
    roles: Annotated[list[str], Field(examples=[["ROLE_TEMPORARY_USER"]])]
    verified_mail: bool


class CodeSentResponse(ResponseModel):
    """How long the code lives, and after how long the next may be asked for; whole seconds."""

    expires_in: Annotated[Seconds, Field(description="Seconds until the code expires.", examples=[600])]
    resend_after: Annotated[Seconds, Field(description="Seconds until the next code can be requested.", examples=[0])]
