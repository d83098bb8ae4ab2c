"""Enrolment of second factors: enable and disable TOTP, replace recovery codes, status."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from auth_service.adapters.crypto.totp import base32, otpauth_uri
from auth_service.adapters.qr_code import svg
from auth_service.db import transaction
from auth_service.errors import (
    AccountChanged,
    SecondFactorNeeded,
    SecondFactorWrong,
    TokenInvalid,
    TotpNotPending,
    TotpOn,
)
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.credentials.recovery_codes import DELETE_CODES, replace_codes
from auth_service.services.credentials.second_factors import TOTP, Factors, factors_of
from auth_service.services.credentials.totp import PENDING_TTL, Totp
from auth_service.services.flows.second_factor.session_replacement import replace_session
from auth_service.services.sessions.authentication_levels import method_of, with_second_factor
from auth_service.services.sessions.revocation import revoke_sessions
from auth_service.services.sessions.sessions import CurrentUser, Sessions, Tokens
from auth_service.services.users.security_notifications import SecurityNotifications
from auth_service.services.users.users import Users, lock_for_change, lock_shared, next_factor_version

PURPOSE = "enrolment"


@dataclass(frozen=True, kw_only=True, slots=True)
class SecondFactorStatus:
    """The second factors of the current user."""

    required: bool
    """Whether a role of the user requires a second factor."""
    factors: Factors


@dataclass(frozen=True, kw_only=True, slots=True)
class NewTotp:
    """A new TOTP secret, for the authenticator app of the user."""

    secret: str = field(repr=False)
    otpauth_uri: str = field(repr=False)
    qr_svg: str = field(repr=False)
    expires_in: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Enrolled:
    """The session after an enrolment, and the recovery codes, which are shown once."""

    tokens: Tokens
    recovery_codes: Sequence[str] = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class SecondFactorEnrolment:
    """Changes of the second factors by their user. Each one ends trusted devices and sends a security notification."""

    users: Users
    totp: Totp
    sessions: Sessions
    audit_log: AuditLog
    security_notifications: SecurityNotifications
    roles: frozenset[str]
    """`SECOND_FACTOR_ROLES`."""
    issuer: str
    """The name of the service in authenticator apps."""

    def status(self, current_user: CurrentUser) -> SecondFactorStatus:
        """Return the second factors of the current user. Raises TokenInvalid."""
        factors = _factors(current_user)
        return SecondFactorStatus(required=factors.has_role_of(self.roles), factors=factors)

    def begin_totp(self, current_user: CurrentUser) -> NewTotp:
        """Begin an enrolment of TOTP in this session, in place of a pending one. Raises TotpOn, TokenInvalid."""
        if not lock_shared(current_user.id):
            raise TokenInvalid
        secret = self.totp.begin(current_user.id, session_id=current_user.session_id)
        if secret is None:
            raise TotpOn
        uri = otpauth_uri(secret, issuer=self.issuer, account=current_user.email)
        return NewTotp(secret=base32(secret), otpauth_uri=uri, qr_svg=svg(uri), expires_in=PENDING_TTL)

    def confirm_totp(self, current_user: CurrentUser, code: str, *, client: ClientInfo) -> Enrolled:
        """Enable TOTP with the first code of the app; revoke all sessions and open a new one.

        Raises TotpNotPending if no enrolment of this session waits, SecondFactorWrong, TokenInvalid.
        """
        self.sessions.prepare()
        lock_for_change(current_user.id)
        user = self.users.signed_in_user(current_user.id)
        confirmed = self.totp.confirm(user.id, code, session_id=current_user.session_id)
        if confirmed is None:
            raise TotpNotPending
        if not confirmed:
            self.audit_log.record_failure(
                EventType.SECOND_FACTOR_REFUSED,
                user_id=user.id,
                client=client,
                session_id=current_user.session_id,
                method=TOTP,
                purpose=PURPOSE,
            )
            raise SecondFactorWrong
        version = self._changed(current_user, EventType.SECOND_FACTOR_ENABLED, client=client)
        codes = replace_codes(user.id)
        try:
            tokens = replace_session(
                self.sessions,
                current_user,
                replace(user, factor_version=version),
                method=method_of(current_user.amr),
                amr=with_second_factor(current_user.amr, "otp"),
                client=client,
            )
        except AccountChanged:  # the user was locked before it was read, so only a ban remains: no session survives it
            raise TokenInvalid from None
        revoke_sessions(user.id, all_but=tokens.session_id, reason="second_factor_enabled", client=client)
        self._notify("second_factor_on", current_user, client=client, new_codes=False)
        return Enrolled(tokens=tokens, recovery_codes=codes)

    def disable_totp(self, current_user: CurrentUser, *, client: ClientInfo) -> None:
        """Delete TOTP and the recovery codes; idempotent.

        A user whose role requires a second factor keeps the recovery codes, for the passkeys. Raises SecondFactorNeeded
        if such a user has no passkey, TokenInvalid.
        """
        lock_for_change(current_user.id)
        factors = _factors(current_user)
        if factors.totp_since is None:
            return
        is_required = factors.has_role_of(self.roles)
        if is_required and not factors.passkeys:
            raise SecondFactorNeeded
        self.totp.delete(current_user.id)
        if not is_required:
            transaction().write(DELETE_CODES({"user_id": current_user.id}))
        self._changed(current_user, EventType.SECOND_FACTOR_DISABLED, client=client)
        self._notify("second_factor_off", current_user, client=client)

    def replace_recovery_codes(self, current_user: CurrentUser, *, client: ClientInfo) -> Sequence[str]:
        """Replace the recovery codes; return the new ones. Raises SecondFactorNeeded without a factor, TokenInvalid."""
        lock_for_change(current_user.id)
        factors = _factors(current_user)
        if factors.totp_since is None and not factors.passkeys:
            raise SecondFactorNeeded
        codes = replace_codes(current_user.id)
        self._changed(current_user, EventType.RECOVERY_CODES_REPLACED, client=client)
        self._notify("second_factor_on", current_user, client=client, new_codes=True)
        return codes

    def _changed(self, current_user: CurrentUser, event_type: EventType, *, client: ClientInfo) -> int:
        """Record the change and return the new version of the factors. Raises TokenInvalid for a deleted user."""
        version = next_factor_version(current_user.id)
        if version is None:
            raise TokenInvalid
        self.audit_log.record(event_type, user_id=current_user.id, client=client, session_id=current_user.session_id)
        return version

    def _notify(self, kind: str, current_user: CurrentUser, *, client: ClientInfo, **values: Any) -> None:
        self.security_notifications.send(kind, user_id=current_user.id, client=client, **values)


def _factors(current_user: CurrentUser) -> Factors:
    factors = factors_of(current_user.id)
    if factors is None:
        raise TokenInvalid
    return factors
