"""Delayed reset of second factors: requested after the first step with an emailed code, cancelled by emailed link."""

from flask_restx import Resource

from auth_service.api.current import services
from auth_service.api.security import session_cookies
from auth_service.api.security.authentication import anyone
from auth_service.api.security.client_info import client_info
from auth_service.api.security.flow_cookies import SECOND_STEP
from auth_service.api.security.rate_limits import CODE_ATTEMPTS, SECOND_STEPS
from auth_service.api.v1.schemas.fields import revealed
from auth_service.api.v1.schemas.second_factor.delayed_reset import (
    CancelSecondFactorResetRequest,
    SecondFactorResetRequest,
    SecondFactorResetResponse,
)
from auth_service.api.v1.second_factor.second_step import sessions
from auth_service.errors import (
    AccountBanned,
    CodeExpired,
    CodeWrong,
    CrossSite,
    RedisUnavailable,
    SecondFactorResetUnavailable,
    SecondStepExpired,
    TooManyCodes,
    UndoUnknown,
)

__all__ = ["sessions"]


@sessions.route("/sign_in/second_step/reset")
class SecondFactorReset(Resource):
    """Delayed reset of second factors."""

    @sessions.contract(
        operation="request_second_factor_reset",
        summary="Send a code, then request with it that the second factors are removed after a delay",
        description=(
            "For a user who has lost all second factors. Needs the ticket of the first step, in the body or in its "
            "cookie. Without `code` the answer has the times of the emailed code, with it `effective_at`. Three emails "
            "tell the user, and each verified second factor cancels the reset. Not for accounts whose role requires a "
            "second factor."
        ),
        access=anyone,
        body=SecondFactorResetRequest,
        data=SecondFactorResetResponse,
        reads_cookies=[SECOND_STEP.cookie],
        limits=[SECOND_STEPS],
        errors=[
            *(SecondStepExpired, AccountBanned, SecondFactorResetUnavailable, CodeWrong, CodeExpired, TooManyCodes),
            *(CrossSite, RedisUnavailable),
        ],
    )
    def post(self, body: SecondFactorResetRequest) -> SecondFactorResetResponse:
        resets = services().delayed_resets
        first = services().second_step.first_step(SECOND_STEP.presented(revealed(body.ticket)))
        context = session_cookies.sign_in_context(first.ticket.transport)
        if body.code is not None:
            return SecondFactorResetResponse(effective_at=resets.request(first, body.code, context=context))
        sent = resets.send_code(first, context=context)
        return SecondFactorResetResponse(expires_in=sent.expires_in, resend_after=sent.resend_after)


@sessions.route("/sign_in/second_step/reset/cancel")
class CancelSecondFactorReset(Resource):
    """Cancel links of delayed resets."""

    @sessions.contract(
        operation="cancel_second_factor_reset",
        summary="Cancel a reset of second factors with the token of an emailed link",
        description="The token is the part of the link after `#`. The account stays as it is.",
        access=anyone,
        body=CancelSecondFactorResetRequest,
        done=True,
        limits=[CODE_ATTEMPTS],
        errors=[UndoUnknown],
    )
    def post(self, body: CancelSecondFactorResetRequest) -> None:
        services().delayed_resets.cancel(body.token.get_secret_value(), client=client_info())
