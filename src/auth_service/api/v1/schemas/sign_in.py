"""Request and response models of sign-in by password or emailed code."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from auth_service.api.http.schemas import ResponseModel
from auth_service.api.v1.schemas.fields import Code, Email, Password, RequestModel, Seconds

Transport = Annotated[
    Literal["bearer", "cookie"],
    Field(
        description="`bearer`: the tokens are in the response. `cookie`: they are in cookies that no script can read.",
        examples=["cookie"],
    ),
]


class SignInRequest(RequestModel):
    """An email address and the password."""

    email: Email
    password: Password
    transport: Transport = "bearer"


class EmailAddressRequest(RequestModel):
    """The email address to send a code to. It may have no account (user enumeration: the response is the same)."""

    email: Email


class CodeSignInRequest(RequestModel):
    """An email address and the code that was sent to it."""

    email: Email
    code: Code
    transport: Transport = "bearer"


class TokensResponse(ResponseModel):
    """An access token and a refresh token; both are absent if they are set as cookies."""

    leaves_out_none: ClassVar[bool] = True

    access_token: Annotated[str | None, Field(description="Absent if the tokens are set as cookies.")] = None
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the token type of RFC 6749, not a secret
    expires_in: Annotated[Seconds, Field(description="Seconds until the access token expires.", examples=[900])]
    refresh_token: Annotated[str | None, Field(description="Absent if the tokens are set as cookies.")] = None
