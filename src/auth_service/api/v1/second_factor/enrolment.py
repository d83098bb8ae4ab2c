"""Second factors of the current user: status, TOTP, recovery codes."""

from flask_restx import Resource

from auth_service.api.contract.endpoint import Namespace
from auth_service.api.current import services
from auth_service.api.security import session_cookies
from auth_service.api.security.authentication import current_user
from auth_service.api.security.authorization import recent, recent_or_restricted, restricted
from auth_service.api.security.client_info import client_info
from auth_service.api.security.rate_limits import SECOND_STEPS
from auth_service.api.v1.schemas.second_factor.enrolment import (
    ConfirmTotpRequest,
    EnrolledResponse,
    PendingTotpResponse,
    RecoveryCodesResponse,
    SecondFactorStatusResponse,
)
from auth_service.errors import SecondFactorNeeded, SecondFactorWrong, TotpNotPending, TotpOn
from auth_service.services.flows.second_factor.enrolment import NewTotp

second_factor = Namespace("second factor", description="Second factors of the current user: TOTP, recovery codes.")


@second_factor.route("/me/second_factor")
class SecondFactor(Resource):
    """The second factors of the current user."""

    @second_factor.contract(
        operation="get_second_factor",
        summary="Return the second factors of the signed-in user",
        access=restricted,
        data=SecondFactorStatusResponse,
    )
    def get(self) -> SecondFactorStatusResponse:
        return SecondFactorStatusResponse.of(services().second_factors.status(current_user()))


@second_factor.route("/me/second_factor/totp")
class Totp(Resource):
    """TOTP of the current user."""

    @second_factor.contract(
        operation="begin_totp",
        summary="Begin to enable TOTP: create the secret for an authenticator app",
        description="A new enrolment replaces a pending one. Only this session can finish it.",
        access=recent_or_restricted,
        data=PendingTotpResponse,
        status=201,
        limits=[SECOND_STEPS],
        errors=[TotpOn],
    )
    def post(self) -> NewTotp:
        return services().second_factors.begin_totp(current_user())

    @second_factor.contract(
        operation="confirm_totp",
        summary="Enable TOTP with the first code of the authenticator app",
        description=(
            "A new session replaces the current one, in the same transport; all other sessions are revoked. The "
            "recovery codes are shown once."
        ),
        access=restricted,
        body=ConfirmTotpRequest,
        data=EnrolledResponse,
        sets_cookies=session_cookies.SESSION_COOKIES,
        limits=[SECOND_STEPS],
        errors=[TotpNotPending, SecondFactorWrong],
    )
    def put(self, body: ConfirmTotpRequest) -> EnrolledResponse:
        user = current_user()
        enrolled = services().second_factors.confirm_totp(user, body.totp, client=client_info())
        tokens = session_cookies.delivered(enrolled.tokens, transport=user.transport)
        return EnrolledResponse(
            access_token=tokens.access_token,
            expires_in=tokens.expires_in,
            refresh_token=tokens.refresh_token,
            recovery_codes=list(enrolled.recovery_codes),
        )

    @second_factor.contract(
        operation="disable_totp",
        summary="Disable TOTP, and delete the recovery codes and trusted devices",
        access=recent,
        done=True,
        limits=[SECOND_STEPS],
        errors=[SecondFactorNeeded],
    )
    def delete(self) -> None:
        services().second_factors.disable_totp(current_user(), client=client_info())


@second_factor.route("/me/second_factor/recovery_codes")
class RecoveryCodes(Resource):
    """The recovery codes of the current user."""

    @second_factor.contract(
        operation="replace_recovery_codes",
        summary="Replace the recovery codes by ten new ones",
        description="The old codes become invalid. The new ones are shown once.",
        access=recent,
        data=RecoveryCodesResponse,
        limits=[SECOND_STEPS],
        errors=[SecondFactorNeeded],
    )
    def post(self) -> RecoveryCodesResponse:
        codes = services().second_factors.replace_recovery_codes(current_user(), client=client_info())
        return RecoveryCodesResponse(recovery_codes=list(codes))
