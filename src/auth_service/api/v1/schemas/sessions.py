"""The forms and cards of signing in and of sessions."""

import uuid
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field, SecretStr, WithJsonSchema

from auth_service.api.http.schemas import ResponseModel
from auth_service.api.v1.schemas.fields import Code, Email, RequestModel
from auth_service.api.v1.schemas.registration import Seconds

LONGEST_TYPED = 1024
"""Characters of a password as it was typed. The 128 that the rules allow are counted after NFKC, which composes no more
than four characters into one; what is beyond that comes from another system."""

Password = Annotated[
    SecretStr,
    Field(min_length=1, max_length=LONGEST_TYPED),
    WithJsonSchema({"type": "string", "format": "password", "minLength": 1, "maxLength": LONGEST_TYPED}),
]
"""A password that was set before: no rule of new ones keeps its owner out."""
Transport = Annotated[
    Literal["bearer", "cookie"],
    Field(description="`bearer`: the tokens are in the answer. `cookie`: they are in cookies that no script can read."),
]
RefreshToken = Annotated[
    SecretStr,
    Field(min_length=1, max_length=256),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 256}),
]


class SignInRequest(RequestModel):
    """An address and its password."""

    email: Email
    password: Password
    transport: Transport = "bearer"


class AddressRequest(RequestModel):
    """An address, which may be anybody's or nobody's."""

    email: Email


class CodeSignInRequest(RequestModel):
    """An address and the code that was mailed there."""

    email: Email
    code: Code
    transport: Transport = "bearer"


class RefreshRequest(RequestModel):
    """The refresh token; absent where it is in a cookie."""

    refresh_token: Annotated[RefreshToken | None, Field(description="Absent where it is in a cookie.")] = None


class TokensResponse(ResponseModel):
    """A pair of tokens; in cookies, and absent here, where they were asked for there."""

    leaves_out_none: ClassVar[bool] = True

    access_token: Annotated[str | None, Field(description="Absent where the tokens are in cookies.")] = None
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the word of RFC 6749
    expires_in: Annotated[Seconds, Field(examples=[900])]
    refresh_token: Annotated[str | None, Field(description="Absent where the tokens are in cookies.")] = None


class SessionResponse(ResponseModel):
    """A session of the caller."""

    id: uuid.UUID
    device: str
    address: str
    method: Literal["password", "code"]
    opened_at: datetime
    last_used_at: datetime
    current: bool
