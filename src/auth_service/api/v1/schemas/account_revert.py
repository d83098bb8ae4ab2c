"""The form of undoing."""

from typing import Annotated

from pydantic import Field, SecretStr, WithJsonSchema

from auth_service.api.v1.schemas.fields import RequestModel


class AccountRevertRequest(RequestModel):
    """The token of a link, used once."""

    token: Annotated[
        SecretStr,
        Field(min_length=1, max_length=128),
        WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 128}),
    ]
