"""Request models of reauthentication."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from auth_service.api.v1.schemas.fields import (
    EXAMPLE_PASSWORD,
    Code,
    Password,
    RecoveryCode,
    RequestModel,
    TotpCode,
    example,
)
from auth_service.errors.fields import FieldInvalid, FieldReason


class ReauthenticateRequest(RequestModel):
    """The password, or the code that was emailed for this session."""

    model_config = example(password=EXAMPLE_PASSWORD)

    password: Annotated[Password | None, Field(description="The password; not together with `code`.")] = None
    code: Annotated[Code | None, Field(description="The emailed code; not together with `password`.")] = None

    totp: Annotated[
        TotpCode | None,
        Field(description="Required if the account requires a second factor; not together with `recovery_code`."),
    ] = None
    recovery_code: Annotated[RecoveryCode | None, Field(description="In place of `totp`.")] = None

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if (self.password is None) == (self.code is None):
            raise FieldInvalid(FieldReason.EXCLUSIVE, "Send either the password or the code.")
        if self.totp is not None and self.recovery_code is not None:
            raise FieldInvalid(FieldReason.EXCLUSIVE, "Send either a TOTP code or a recovery code.")
        return self
