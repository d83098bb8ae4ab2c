"""Reauthentication endpoints with a passkey (step-up, RFC 9470)."""

from flask_restx import Resource

from auth_service.api.current import services
from auth_service.api.security import session_cookies
from auth_service.api.security.authentication import current_user
from auth_service.api.security.authorization import restricted
from auth_service.api.security.client_info import client_info
from auth_service.api.security.flow_cookies import PASSKEY
from auth_service.api.security.rate_limits import PASSKEY_CHALLENGES, REAUTHENTICATIONS
from auth_service.api.v1.passkeys.challenges import delivered, presented_ticket
from auth_service.api.v1.reauthentication import account
from auth_service.api.v1.schemas.passkeys import PasskeyChallengeResponse, PasskeyRequest
from auth_service.api.v1.schemas.sign_in import TokensResponse
from auth_service.errors import AccountChanged, PasskeyRejected
from auth_service.services.credentials.passkeys import PasskeyChallenge
from auth_service.services.sessions.sessions import Tokens

__all__ = ["account"]


@account.route("/me/reauthenticate/passkey/options")
class ReauthenticationOptions(Resource):
    """Options of a reauthentication with a passkey."""

    @account.contract(
        operation="begin_reauthentication_with_passkey",
        summary="Return the options with which the browser reauthenticates with a passkey",
        description="For this session. The options name the passkeys of the account.",
        access=restricted,
        data=PasskeyChallengeResponse,
        sets_cookies=[PASSKEY.cookie],
        limits=[PASSKEY_CHALLENGES],
    )
    def post(self) -> PasskeyChallenge:
        user = current_user()
        return delivered(services().passkeys.reauthentication.options(user), transport=user.transport)


@account.route("/me/reauthenticate/passkey")
class ReauthenticateWithPasskey(Resource):
    """Reauthentication with a passkey."""

    @account.contract(
        operation="reauthenticate_with_passkey",
        summary="Authenticate again, with a passkey of the account",
        description=(
            "A new session of the level `aal2` replaces the current one: its tokens become invalid, and the answer has "
            "those of the new session, in the same transport."
        ),
        access=restricted,
        body=PasskeyRequest,
        data=TokensResponse,
        reads_cookies=[PASSKEY.cookie],
        sets_cookies=[PASSKEY.cookie, *session_cookies.SESSION_COOKIES],
        limits=[REAUTHENTICATIONS],
        errors=[PasskeyRejected, AccountChanged],
    )
    def post(self, body: PasskeyRequest) -> Tokens:
        user = current_user()
        tokens = services().passkeys.reauthentication.complete(
            user, body.credential.verifiable(), ticket=presented_ticket(body.ticket), client=client_info()
        )
        PASSKEY.cookie.clear()
        return session_cookies.delivered(tokens, transport=user.transport)
