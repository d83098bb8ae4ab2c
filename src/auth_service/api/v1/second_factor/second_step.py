"""Second step of the sign-in: a TOTP code or a recovery code with the ticket of the first step."""

from flask_restx import Resource

from auth_service.api.current import services
from auth_service.api.http.metrics import second_step_outcome
from auth_service.api.security import session_cookies
from auth_service.api.security.authentication import anyone
from auth_service.api.security.client_info import DEVICE
from auth_service.api.security.flow_cookies import SECOND_STEP
from auth_service.api.security.rate_limits import SECOND_STEPS
from auth_service.api.v1.schemas.fields import revealed
from auth_service.api.v1.schemas.second_factor.second_step import SecondStepRequest
from auth_service.api.v1.schemas.sign_in import TokensResponse
from auth_service.api.v1.sessions import sessions
from auth_service.api.v1.sign_in import SIGN_IN_COOKIES
from auth_service.errors import AccountBanned, CrossSite, SecondFactorRejected, SecondStepExpired
from auth_service.services.sessions.sessions import Tokens

__all__ = ["sessions"]


@sessions.route("/sign_in/second_step")
class SecondStep(Resource):
    """The second step of a sign-in."""

    @sessions.contract(
        operation="complete_sign_in",
        summary="Complete a sign-in with a code of the authenticator app or a recovery code",
        description=(
            "Needs the ticket of the first step, in the body or in its cookie. A wrong, a used and a delayed code get "
            "the same answer."
        ),
        access=anyone,
        body=SecondStepRequest,
        data=TokensResponse,
        reads_cookies=[SECOND_STEP.cookie, DEVICE],
        sets_cookies=(*SIGN_IN_COOKIES, SECOND_STEP.cookie),
        limits=[SECOND_STEPS],
        errors=[SecondFactorRejected, SecondStepExpired, AccountBanned, CrossSite],
    )
    def post(self, body: SecondStepRequest) -> Tokens:
        code = body.second_factor()
        with second_step_outcome(code.method), SECOND_STEP.cleared_after(SecondStepExpired):
            second_step = services().second_step
            first = second_step.first_step(SECOND_STEP.presented(revealed(body.ticket)))
            context = session_cookies.sign_in_context(body.transport or first.ticket.transport)
            signed_in = second_step.by_code(first, code, trusts_device=body.trust_device, context=context)
        return session_cookies.signed_in(signed_in)
