"""Endpoints of the passkeys of the current user: add, list, rename, remove."""

import uuid
from typing import Any

from flask_restx import Resource

from auth_service.api.contract.endpoint import Namespace
from auth_service.api.current import services
from auth_service.api.security import session_cookies
from auth_service.api.security.authentication import current_user
from auth_service.api.security.authorization import recent, recent_or_restricted, restricted
from auth_service.api.security.client_info import client_info
from auth_service.api.security.flow_cookies import PASSKEY
from auth_service.api.security.rate_limits import PASSKEY_CHALLENGES, SECOND_STEPS
from auth_service.api.v1.passkeys.challenges import delivered, presented_ticket
from auth_service.api.v1.schemas.passkeys import (
    PasskeyCreationResponse,
    PasskeyRemovedResponse,
    PasskeyResponse,
    RegisteredPasskeyResponse,
    RegisterPasskeyRequest,
    RenamePasskeyRequest,
)
from auth_service.errors import (
    AccountChanged,
    LimitReached,
    PasskeyTaken,
    PasskeyUnfit,
    PasskeyUnknown,
    SecondFactorNeeded,
)
from auth_service.services.credentials.passkey_statements import PasskeyRecord
from auth_service.services.credentials.passkeys import PasskeyChallenge
from auth_service.services.pagination import Page
from auth_service.services.sessions.sessions import Tokens

passkeys = Namespace("passkeys", description="Passkeys (WebAuthn) of the current user.")


@passkeys.route("/me/passkeys/options")
class PasskeyCreationOptions(Resource):
    """Options of new passkeys."""

    @passkeys.contract(
        operation="begin_passkey_registration",
        summary="Return the options with which the browser creates a passkey",
        description="For this session. Send the ticket with the new passkey; with cookies it is in a cookie.",
        access=recent_or_restricted,
        data=PasskeyCreationResponse,
        sets_cookies=[PASSKEY.cookie],
        limits=[PASSKEY_CHALLENGES],
        errors=[LimitReached],
    )
    def post(self) -> PasskeyChallenge:
        user = current_user()
        return delivered(services().passkeys.registration.options(user), transport=user.transport)


@passkeys.route("/me/passkeys")
class MyPasskeys(Resource):
    """The passkeys of the current user."""

    @passkeys.contract(
        operation="list_my_passkeys",
        summary="List the passkeys of the account, the oldest first",
        items=PasskeyResponse,
    )
    def get(self) -> Page[PasskeyRecord]:
        return Page(items=services().passkeys.passkeys.of_user(current_user().id), next_cursor=None)

    @passkeys.contract(
        operation="register_passkey",
        summary="Add a passkey to the account",
        description=(
            "`credential` is the result of `toJSON()` of the new credential. Tell the browser about `signal` with "
            "`signalAllAcceptedCredentials`. In a restricted session the answer also has the tokens of a new session, "
            "which replaces the current one, and recovery codes, which are shown once."
        ),
        access=restricted,
        body=RegisterPasskeyRequest,
        data=RegisteredPasskeyResponse,
        status=201,
        reads_cookies=[PASSKEY.cookie],
        sets_cookies=[PASSKEY.cookie, *session_cookies.SESSION_COOKIES],
        limits=[SECOND_STEPS],
        errors=[PasskeyUnfit, PasskeyTaken, LimitReached, AccountChanged],
    )
    def post(self, body: RegisterPasskeyRequest) -> dict[str, Any]:
        user = current_user()
        registered = services().passkeys.registration.register(
            user,
            body.credential.verifiable(),
            ticket=presented_ticket(body.ticket),
            transports=body.credential.response.transports,
            name=body.name,
            client=client_info(),
        )
        PASSKEY.cookie.clear()
        tokens = registered.tokens and session_cookies.delivered(registered.tokens, transport=user.transport)
        return {
            **PasskeyResponse.model_validate(registered.passkey).model_dump(),
            **_of_new_session(tokens),
            "signal": registered.signal,
            "recovery_codes": registered.recovery_codes,
        }


def _of_new_session(tokens: Tokens | None) -> dict[str, Any]:
    if tokens is None:
        return {}
    return {
        "access_token": tokens.access_token,
        "token_type": "Bearer",
        "expires_in": tokens.expires_in,
        "refresh_token": tokens.refresh_token,
    }


@passkeys.route("/me/passkeys/<uuid:passkey_id>")
class MyPasskey(Resource):
    """One passkey of the current user."""

    @passkeys.contract(
        operation="rename_passkey",
        summary="Change the name of a passkey",
        body=RenamePasskeyRequest,
        data=PasskeyResponse,
        errors=[PasskeyUnknown],
    )
    def patch(self, passkey_id: uuid.UUID, body: RenamePasskeyRequest) -> PasskeyRecord:
        return services().passkeys.registration.rename(current_user(), passkey_id, name=body.name, client=client_info())

    @passkeys.contract(
        operation="remove_passkey",
        summary="Remove a passkey from the account",
        description=(
            "Tell the browser about `signal` with `signalAllAcceptedCredentials`, so that the passkey provider stops "
            "offering the passkey. With the last second factor the recovery codes are deleted, too."
        ),
        access=recent,
        data=PasskeyRemovedResponse,
        errors=[PasskeyUnknown, SecondFactorNeeded],
    )
    def delete(self, passkey_id: uuid.UUID) -> dict[str, Any]:
        return {"signal": services().passkeys.registration.remove(current_user(), passkey_id, client=client_info())}
