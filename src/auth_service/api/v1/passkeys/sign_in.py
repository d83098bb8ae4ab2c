"""Sign-in endpoints with a passkey: as the only step, or as the second one."""

from flask_restx import Resource

from auth_service.api.current import services
from auth_service.api.http.metrics import second_step_outcome
from auth_service.api.security import session_cookies
from auth_service.api.security.authentication import anyone
from auth_service.api.security.client_info import DEVICE
from auth_service.api.security.flow_cookies import PASSKEY, SECOND_STEP
from auth_service.api.security.rate_limits import PASSKEY_CHALLENGES, SECOND_STEPS, SIGN_INS
from auth_service.api.v1.passkeys.challenges import delivered, in_both, presented_ticket
from auth_service.api.v1.schemas.fields import revealed
from auth_service.api.v1.schemas.passkeys import (
    PasskeyChallengeResponse,
    PasskeyRequest,
    PasskeySignInRequest,
    SecondStepPasskeyOptionsRequest,
)
from auth_service.api.v1.schemas.sign_in import TokensResponse
from auth_service.api.v1.second_factor.delayed_reset import sessions
from auth_service.api.v1.sign_in import SIGN_IN_COOKIES
from auth_service.errors import AccountBanned, CredentialUnknown, CrossSite, PasskeyRejected, SecondStepExpired
from auth_service.services.credentials.passkeys import PasskeyChallenge
from auth_service.services.sessions.sessions import Tokens

__all__ = ["sessions"]


@sessions.route("/sign_in/passkey/options")
class PasskeySignInOptions(Resource):
    """Options of a sign-in with a passkey."""

    @sessions.contract(
        operation="begin_passkey_sign_in",
        summary="Return the options with which the browser signs in with a passkey",
        description="The request takes no address, and the options name no passkey: they are the same for every user.",
        access=anyone,
        data=PasskeyChallengeResponse,
        sets_cookies=[PASSKEY.cookie],
        limits=[PASSKEY_CHALLENGES],
    )
    def post(self) -> PasskeyChallenge:
        return in_both(services().passkeys.sign_in.options())


@sessions.route("/sign_in/passkey")
class PasskeySignIn(Resource):
    """Sign-in with a passkey."""

    @sessions.contract(
        operation="sign_in_with_passkey",
        summary="Sign in with a passkey",
        description=(
            "`credential` is the result of `toJSON()` of the assertion. The session has the level `aal2`; there is no "
            "second step. After `credential_unknown` call `signalUnknownCredential`, so that the passkey provider "
            "stops offering the passkey."
        ),
        access=anyone,
        body=PasskeySignInRequest,
        data=TokensResponse,
        reads_cookies=[PASSKEY.cookie, DEVICE],
        sets_cookies=[PASSKEY.cookie, *SIGN_IN_COOKIES],
        limits=[SIGN_INS],
        errors=[CredentialUnknown, PasskeyRejected, AccountBanned, CrossSite],
    )
    def post(self, body: PasskeySignInRequest) -> Tokens:
        context = session_cookies.sign_in_context(body.transport)
        ticket = presented_ticket(body.ticket)
        signed_in = services().passkeys.sign_in.complete(body.credential.verifiable(), ticket=ticket, context=context)
        PASSKEY.cookie.clear()
        return session_cookies.signed_in(signed_in)


@sessions.route("/sign_in/second_step/passkey/options")
class SecondStepPasskeyOptions(Resource):
    """Options of a second step with a passkey."""

    @sessions.contract(
        operation="begin_second_step_with_passkey",
        summary="Return the options with which the browser continues a sign-in with a passkey",
        description="The options name the passkeys of the account. With cookies the new ticket is in a cookie, too.",
        access=anyone,
        body=SecondStepPasskeyOptionsRequest,
        data=PasskeyChallengeResponse,
        reads_cookies=[SECOND_STEP.cookie],
        sets_cookies=[PASSKEY.cookie],
        limits=[PASSKEY_CHALLENGES],
        errors=[SecondStepExpired, AccountBanned, CrossSite],
    )
    def post(self, body: SecondStepPasskeyOptionsRequest) -> PasskeyChallenge:
        second_step = services().passkeys.second_step
        first = second_step.first_step(SECOND_STEP.presented(revealed(body.ticket)))
        context = session_cookies.sign_in_context(first.ticket.transport)
        return delivered(second_step.options(first, context=context), transport=context.transport)


@sessions.route("/sign_in/second_step/passkey")
class SecondStepPasskey(Resource):
    """Second step with a passkey."""

    @sessions.contract(
        operation="complete_sign_in_with_passkey",
        summary="Complete a sign-in with a passkey of the account",
        description="The ticket is that of the options; the transport of the tokens is that of the first step.",
        access=anyone,
        body=PasskeyRequest,
        data=TokensResponse,
        reads_cookies=[PASSKEY.cookie, DEVICE],
        sets_cookies=[PASSKEY.cookie, SECOND_STEP.cookie, *SIGN_IN_COOKIES],
        limits=[SECOND_STEPS],
        errors=[PasskeyRejected, SecondStepExpired, AccountBanned, CrossSite],
    )
    def post(self, body: PasskeyRequest) -> Tokens:
        with second_step_outcome("passkey"), SECOND_STEP.cleared_after(SecondStepExpired):
            second_step = services().passkeys.second_step
            first = second_step.challenge(presented_ticket(body.ticket))
            context = session_cookies.sign_in_context(first.ticket.transport)
            signed_in = second_step.complete(first, body.credential.verifiable(), context=context)
        PASSKEY.cookie.clear()
        return session_cookies.signed_in(signed_in)
