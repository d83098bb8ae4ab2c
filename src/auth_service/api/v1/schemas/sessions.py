"""Request and response models of sessions and refresh tokens."""

import uuid
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, SecretStr, WithJsonSchema

from auth_service.api.http.schemas import ResponseModel
from auth_service.api.v1.schemas.fields import RequestModel, Trimmed

RefreshToken = Annotated[
    SecretStr,
    Trimmed,
    Field(min_length=1, max_length=256),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 256}),
]


Method = Annotated[
    Literal["password", "code", "passkey", "identity"], Field(description="How the user signed in: the first factor.")
]


class RefreshRequest(RequestModel):
    """The refresh token; absent if it is in a cookie."""

    refresh_token: Annotated[RefreshToken | None, Field(description="Absent if it is in a cookie.")] = None


class SignOutRequest(RequestModel):
    """The refresh token of a client whose access token may have expired; absent if cookies hold the session."""

    refresh_token: Annotated[
        RefreshToken | None,
        Field(description="Sufficient without an access token. Absent if it is in a cookie."),
    ] = None


class SessionResponse(ResponseModel):
    """An active session of the current user."""

    id: uuid.UUID
    device: str
    address: str
    method: Method
    opened_at: datetime
    last_used_at: datetime
    current: bool
