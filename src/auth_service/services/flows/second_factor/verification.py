"""Verification of a second factor, TOTP or recovery code, for sign-in and reauthentication."""

import uuid
from dataclasses import dataclass
from typing import Any

from auth_service.db import transaction
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.credentials import recovery_codes
from auth_service.services.credentials.factor_resets import cancel_reset
from auth_service.services.credentials.second_factors import RECOVERY_CODE, TOTP
from auth_service.services.credentials.totp import CLEAR_FAILURES, Totp
from auth_service.services.users.security_notifications import SecurityNotifications
from auth_service.services.users.statements import UserRecord
from auth_service.services.users.users import lock_against_change


@dataclass(frozen=True, kw_only=True, slots=True)
class SecondFactorCode:
    """A code of the second factor, as the client sent it."""

    method: str
    """`totp` or `recovery_code`."""
    code: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SecondFactorResult:
    """The result of the verification of a second factor."""

    reference: str | None
    """The `amr` value of the accepted factor; None for a rejected one."""
    attempts_left: int | None = None
    """TOTP codes that can be tried without a delay; None for a recovery code."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SecondFactorVerification:
    """Verifies codes of the second factor, counts failed attempts, and sends the security notifications about both."""

    totp: Totp
    audit_log: AuditLog
    security_notifications: SecurityNotifications

    def verify(
        self,
        user: UserRecord,
        presented: SecondFactorCode,
        *,
        purpose: str,
        client: ClientInfo,
        session_id: uuid.UUID | None = None,
    ) -> SecondFactorResult:
        """Verify and consume a code; `purpose` names the action in the audit event of a failed attempt.

        An accepted code cancels a delayed reset: the user has a second factor.
        Locks the user first, as opening a session does afterwards. A failed attempt is only counted if the caller
        raises an error that commits.
        """
        lock_against_change(user.id)
        if presented.method == RECOVERY_CODE:
            result = self._verify_recovery_code(user, presented.code, client=client, session_id=session_id)
        else:
            result = self._verify_totp(user, presented.code, client=client)
        if result.reference is None:
            self.audit_log.record_failure(
                EventType.SECOND_FACTOR_REFUSED,
                user_id=user.id,
                client=client,
                session_id=session_id,
                method=presented.method,
                purpose=purpose,
            )
        else:
            cancel_reset(user.id, client=client)
        return result

    def _verify_totp(self, user: UserRecord, code: str, *, client: ClientInfo) -> SecondFactorResult:
        result = self.totp.verify(user.id, code)
        if result.is_last_free:
            self._notify("second_factor_attempts", user, client=client)
        return SecondFactorResult(
            reference="otp" if result.matches else None,
            attempts_left=result.attempts_left,
        )

    def _verify_recovery_code(
        self, user: UserRecord, code: str, *, client: ClientInfo, session_id: uuid.UUID | None
    ) -> SecondFactorResult:
        left = recovery_codes.consume(user.id, code)
        if left is None:
            return SecondFactorResult(reference=None)
        transaction().write(CLEAR_FAILURES({"user_id": user.id}))
        self.audit_log.record(
            EventType.RECOVERY_CODE_USED, user_id=user.id, client=client, session_id=session_id, left=left
        )
        self._notify("recovery_code_used", user, client=client, left=left)
        return SecondFactorResult(reference="recovery")

    def _notify(self, kind: str, user: UserRecord, *, client: ClientInfo, **values: Any) -> None:
        """Write a notification; the record of the user has the address, so that nothing is read for it."""
        self.security_notifications.outbox.put(
            self.security_notifications.message(
                kind, user_id=user.id, to=user.address, language=user.language, client=client, **values
            )
        )


def presented_code(*, totp: str | None, recovery_code: str | None) -> SecondFactorCode | None:
    """Return the code that a request contains, or None; a request contains at most one of both."""
    if recovery_code is not None:
        return SecondFactorCode(method=RECOVERY_CODE, code=recovery_code)
    return None if totp is None else SecondFactorCode(method=TOTP, code=totp)
