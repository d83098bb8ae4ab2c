"""Request model of the account revert."""

from typing import Annotated

from pydantic import Field, SecretStr, WithJsonSchema

from auth_service.api.v1.schemas.fields import RequestModel, Trimmed


class AccountRevertRequest(RequestModel):
    """The single-use token of an account revert link."""

    token: Annotated[
        SecretStr,
        Trimmed,
        Field(min_length=1, max_length=128),
        WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 128}),
    ]
