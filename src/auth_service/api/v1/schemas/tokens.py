"""The forms and cards of other services that ask about tokens."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, SecretStr, WithJsonSchema

from auth_service.api.http.schemas import ResponseModel
from auth_service.api.v1.schemas.fields import RequestModel


class IntrospectRequest(RequestModel):
    """A token that somebody showed."""

    token: Annotated[SecretStr, WithJsonSchema({"type": "string"})]
    token_type_hint: Annotated[
        str | None,
        Field(max_length=64, description="`refresh_token` to ask about one; everything else asks about access tokens."),
    ] = None


class TokenStateResponse(ResponseModel):
    """What is true of a token now (RFC 7662, 2.2). Of one that is not good, only that."""

    leaves_out_none: ClassVar[bool] = True

    active: Annotated[bool, Field(description="Where false, the only field.")]
    token_type: Literal["Bearer", "refresh_token"] | None = None
    iss: str | None = None
    aud: str | None = None
    client_id: str | None = None
    sub: Annotated[str | None, Field(description="The id of the user.")] = None
    sid: Annotated[str | None, Field(description="The id of the session.")] = None
    jti: str | None = None
    iat: int | None = None
    nbf: int | None = None
    exp: int | None = None
    roles: Annotated[list[str] | None, Field(description="Those that the user has now.")] = None


class IdentityResponse(ResponseModel):
    """Whose request it is."""

    id: Annotated[int, Field(ge=1, le=2**53 - 1)]
    roles: list[str]
