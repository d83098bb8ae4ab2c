"""Request and response models of token introspection (RFC 7662), revocation (RFC 7009) and forward auth."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, SecretStr, WithJsonSchema

from auth_service.api.http.schemas import ResponseModel
from auth_service.api.v1.schemas.account import UserId
from auth_service.api.v1.schemas.fields import RequestModel, Trimmed


class IntrospectionRequest(RequestModel):
    """The token to introspect (RFC 7662, 2.1)."""

    # Unchanged: another service asks about exactly the text that a client presented to it.
    token: Annotated[SecretStr, WithJsonSchema({"type": "string"})]
    token_type_hint: Annotated[
        Annotated[str, Trimmed, Field(max_length=64)] | None,
        Field(description="`refresh_token` for a refresh token; any other value, or none, for an access token."),
    ] = None


class IntrospectionResponse(ResponseModel):
    """The current state of a token (RFC 7662, 2.2). For a token that is not active, `active` is the only field."""

    leaves_out_none: ClassVar[bool] = True

    active: Annotated[
        bool, Field(description="False for an invalid, expired or revoked token; then this is the only field.")
    ]
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
    roles: Annotated[list[str] | None, Field(description="The current roles of the user.")] = None
    permissions: Annotated[list[str] | None, Field(description="The current permissions of these roles.")] = None
    auth_time: Annotated[int | None, Field(description="When the user authenticated (RFC 9470).")] = None
    acr: Annotated[Literal["aal1", "aal2"] | None, Field(description="The authentication level of the session.")] = None
    amr: Annotated[list[str] | None, Field(description="The authentication methods (RFC 8176).")] = None


class RevocationRequest(RequestModel):
    """The token whose session is to be revoked (RFC 7009, 2.1)."""

    token: Annotated[SecretStr, Trimmed, WithJsonSchema({"type": "string"})]
    token_type_hint: Annotated[
        Annotated[str, Trimmed, Field(max_length=64)] | None,
        Field(description="Accepted and ignored: every token is recognised."),
    ] = None


class ForwardAuthResponse(ResponseModel):
    """The user whose request a gateway forwards."""

    id: UserId
    roles: list[str]
