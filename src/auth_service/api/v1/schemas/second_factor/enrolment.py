"""Request and response models of the enrolment of second factors."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field

from auth_service.api.http.schemas import ResponseModel
from auth_service.api.v1.schemas.fields import RequestModel, Seconds, TotpCode
from auth_service.api.v1.schemas.sign_in import TokensResponse
from auth_service.services.flows.second_factor.enrolment import SecondFactorStatus


class TotpStatusResponse(ResponseModel):
    """TOTP of the current user."""

    on: bool
    since: datetime | None
    last_used_at: datetime | None


class RecoveryCodesStatusResponse(ResponseModel):
    """The recovery codes of the current user."""

    left: Annotated[int, Field(ge=0, description="How many are not used.")]
    since: datetime | None


class SecondFactorStatusResponse(ResponseModel):
    """The second factors of the current user."""

    required: Annotated[bool, Field(description="Whether a role of the user requires a second factor.")]
    totp: TotpStatusResponse
    recovery_codes: RecoveryCodesStatusResponse
    passkeys: Annotated[int, Field(ge=0, description="How many passkeys the user has.")]
    reset_due_at: Annotated[datetime | None, Field(description="When a requested reset takes effect.")]

    @classmethod
    def of(cls, status: SecondFactorStatus) -> Self:
        """Return the response for a status."""
        factors = status.factors
        return cls(
            required=status.required,
            totp=TotpStatusResponse(
                on=factors.totp_since is not None, since=factors.totp_since, last_used_at=factors.totp_last_used_at
            ),
            recovery_codes=RecoveryCodesStatusResponse(
                left=factors.recovery_codes_left, since=factors.recovery_codes_since
            ),
            passkeys=factors.passkeys,
            reset_due_at=factors.reset_due_at,
        )


class PendingTotpResponse(ResponseModel):
    """A new TOTP secret: shown once, to be confirmed with a code of the app."""

    secret: Annotated[str, Field(description="In base 32, for an app that cannot read the QR code.")]
    otpauth_uri: Annotated[str, Field(description="The content of the QR code.")]
    qr_svg: Annotated[str, Field(description="The QR code, as an SVG element.")]
    expires_in: Annotated[Seconds, Field(description="Seconds until the enrolment expires.", examples=[600])]


class ConfirmTotpRequest(RequestModel):
    """The first code of the authenticator app."""

    totp: TotpCode


RecoveryCodes = Annotated[
    list[str],
    Field(description="Each works once in place of a code of the app. They are not shown again."),
]


class RecoveryCodesResponse(ResponseModel):
    """New recovery codes."""

    recovery_codes: RecoveryCodes


class EnrolledResponse(TokensResponse):
    """The tokens of the new session, and the recovery codes."""

    recovery_codes: RecoveryCodes
