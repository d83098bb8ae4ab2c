"""Step-up authentication (RFC 9470): a signed-in user authenticates again, and a new session replaces the old one."""

from dataclasses import dataclass

from auth_service.errors import SecondFactorWrong, ValidationFailed
from auth_service.errors.fields import FieldError, FieldReason
from auth_service.services.audit.events import ClientInfo
from auth_service.services.credentials.one_time_codes import CodeSent, OneTimeCodes
from auth_service.services.flows.reauthentication import Reauthentication, send_session_code
from auth_service.services.flows.second_factor.session_replacement import replace_session
from auth_service.services.flows.second_factor.verification import SecondFactorCode, SecondFactorVerification
from auth_service.services.sessions.authentication_levels import AAL2, method_references, with_second_factor
from auth_service.services.sessions.sessions import CurrentUser, Sessions, Tokens
from auth_service.services.users.recipients import recipient
from auth_service.services.users.statements import UserRecord
from auth_service.services.users.users import Users

PURPOSE = "reauthentication"


@dataclass(frozen=True, kw_only=True, slots=True)
class StepUp:
    """Reauthentication with a new session: a token that was stolen earlier never becomes recent (ASVS 7.2.4).

    An account with a second factor and the required level `aal2` needs a code of the second factor too. It is verified
    after the first factor, so that a stolen access token alone cannot throttle it.
    """

    users: Users
    reauthentication: Reauthentication
    second_factors: SecondFactorVerification
    codes: OneTimeCodes
    sessions: Sessions

    def send_code(self, current_user: CurrentUser, *, network: str) -> CodeSent:
        """Send a code for this session. Raises TooManyCodes, RedisUnavailable."""
        return send_session_code(current_user, users=self.users, codes=self.codes, network=network)

    def by_password(
        self, current_user: CurrentUser, password: str, *, second: SecondFactorCode | None, client: ClientInfo
    ) -> Tokens:
        """Reauthenticate with the password, and with a code of the second factor if the account requires it.

        Raises ValidationFailed, PasswordNotSet, TooManyAttempts, PasswordWrong, SecondFactorWrong, AccountChanged,
        TokenInvalid, ServiceBusy.
        """
        _check_second(current_user, second)
        user = self.users.signed_in_user(current_user.id)
        self.reauthentication.verify_password(user, password, purpose=PURPOSE, client=client)
        return self._replace(current_user, user, method="password", second=second, client=client)

    def by_code(
        self, current_user: CurrentUser, code: str, *, second: SecondFactorCode | None, client: ClientInfo
    ) -> Tokens:
        """Reauthenticate with a code that was emailed for this session, and the second factor as in `by_password`.

        Raises ValidationFailed, CodeWrong, CodeExpired, SecondFactorWrong, AccountChanged, TokenInvalid,
        RedisUnavailable.
        """
        _check_second(current_user, second)
        user = self.users.signed_in_user(current_user.id)
        to = recipient(user, address=user.address, session_id=current_user.session_id)
        self.reauthentication.verify_code(
            code, codes=self.codes, to=to, current_user=current_user, purpose=PURPOSE, client=client
        )
        return self._replace(current_user, user, method="code", second=second, client=client)

    def _replace(
        self,
        current_user: CurrentUser,
        user: UserRecord,
        *,
        method: str,
        second: SecondFactorCode | None,
        client: ClientInfo,
    ) -> Tokens:
        """Verify the second factor and replace the session.

        Of concurrent reauthentications of one session the first revokes it and succeeds.
        """
        amr = method_references(method)
        if second is not None:
            self.sessions.prepare()
            result = self.second_factors.verify(
                user, second, purpose=PURPOSE, client=client, session_id=current_user.session_id
            )
            if result.reference is None:
                raise SecondFactorWrong
            amr = with_second_factor(amr, result.reference)
        return replace_session(self.sessions, current_user, user, method=method, amr=amr, client=client)


def _check_second(current_user: CurrentUser, second: SecondFactorCode | None) -> None:
    """Raise ValidationFailed unless a code of the second factor was sent exactly if the account requires it.

    A user who has to enrol the first factor still reauthenticates without one.
    """
    is_needed = current_user.required_level == AAL2 and current_user.has_factor
    if is_needed and second is None:
        message = "The account has a second factor; send `totp` or `recovery_code` too."
        raise ValidationFailed(FieldError(field="totp", reason=FieldReason.MISSING, msg=message))
    if second is not None and not is_needed:
        message = "The account requires no second factor; send the password or the code only."
        raise ValidationFailed(FieldError(field=second.method, reason=FieldReason.UNEXPECTED, msg=message))
