"""Request models of the second step of a sign-in."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from auth_service.api.v1.schemas.fields import RecoveryCode, RequestModel, SealedTicket, TotpCode, example
from auth_service.api.v1.schemas.sign_in import Transport
from auth_service.errors.fields import FieldInvalid, FieldReason
from auth_service.services.credentials.second_factors import RECOVERY_CODE, TOTP
from auth_service.services.flows.second_factor.verification import SecondFactorCode


class SecondStepRequest(RequestModel):
    """The ticket of the first step, and a code of the second factor."""

    model_config = example(totp="492039")

    ticket: Annotated[SealedTicket | None, Field(description="Absent if it is in a cookie.")] = None
    totp: Annotated[TotpCode | None, Field(description="Not together with `recovery_code`.")] = None
    recovery_code: Annotated[RecoveryCode | None, Field(description="Not together with `totp`.")] = None
    trust_device: Annotated[
        bool, Field(description="Whether this browser needs no second step for some time; needs its cookies.")
    ] = False
    transport: Annotated[Transport | None, Field(description="That of the first step if it is absent.")] = None

    def second_factor(self) -> SecondFactorCode:
        """Return the code of the second factor."""
        if self.recovery_code is not None:
            return SecondFactorCode(method=RECOVERY_CODE, code=self.recovery_code.get_secret_value())
        return SecondFactorCode(method=TOTP, code=self.totp or "")

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if (self.totp is None) == (self.recovery_code is None):
            raise FieldInvalid(FieldReason.EXCLUSIVE, "Send either a TOTP code or a recovery code.")
        return self
