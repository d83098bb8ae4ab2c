"""User administration: ban and unban users, force a password reset, delete users."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from auth_service.db import transaction
from auth_service.errors import MailNotConfirmed, RedisUnavailable, TooManyCodes, UserUnknown, ValidationFailed
from auth_service.errors.fields import FieldError, FieldReason
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.authorization.administrators import Administrators
from auth_service.services.authorization.targets import Target, check_target, lock_target
from auth_service.services.caller import Caller
from auth_service.services.credentials.one_time_codes import IssuedCode, OneTimeCodes
from auth_service.services.flows.account_deletion import AccountDeletion
from auth_service.services.sessions.revocation import revoke_sessions
from auth_service.services.users.bans import LIFT_BAN, SET_BAN, Ban
from auth_service.services.users.recipients import recipient
from auth_service.services.users.security_notifications import SecurityNotifications
from auth_service.services.users.statements import UserRecord
from auth_service.services.users.users import Users

LONGEST_BAN = timedelta(days=36_525)
"""A hundred years. A ban without `until` has no end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UserAdministration:
    """What administrators do to the accounts of other users.

    Every operation locks the user first, so that a concurrent sign-in, grant or deletion happens before it or sees it.
    Locks are taken in the order administrators, address of an email, user, sessions. All operations raise
    NotToYourself, UserUnknown, and BeyondYourOwn for a user who has a permission that the caller lacks.
    """

    users: Users
    administrators: Administrators
    deletion: AccountDeletion
    reset_codes: OneTimeCodes
    """Those of `PasswordReset`."""
    audit_log: AuditLog
    security_notifications: SecurityNotifications

    def ban(self, user_id: int, *, reason: str, until: datetime | None, caller: Caller, client: ClientInfo) -> None:
        """Ban a user until a time, or without end, and revoke all sessions; idempotent for equal values.

        A ban in force gets the new `reason` and `until`. Raises ValidationFailed for an `until` that is not within the
        next hundred years, and LastAdministrator.
        """
        self.administrators.lock()
        target = lock_target(user_id, caller=caller)
        _check_end(until, now=target.now)
        ban = Ban(until, reason)
        if target.ban == ban:
            return
        if target.is_administrator:
            self.administrators.require_another_than(user_id)
        transaction().write(SET_BAN({"user_id": user_id, "until": until, "reason": reason}))
        revoke_sessions(user_id, reason="banned", client=client, actor=caller)
        self.audit_log.record(
            EventType.USER_BANNED,
            user_id=user_id,
            client=client,
            actor=caller,
            reason=reason,
            changes=_changes(target.ban, ban),
        )
        self._notify_ban(user_id, target, ban, client=client)

    def unban(self, user_id: int, *, caller: Caller, client: ClientInfo) -> None:
        """Lift the ban of a user; idempotent. The user can sign in again; revoked sessions stay revoked."""
        target = lock_target(user_id, caller=caller)
        if target.ban is None:
            return
        transaction().write(LIFT_BAN({"user_id": user_id}))
        self.audit_log.record(
            EventType.USER_UNBANNED, user_id=user_id, client=client, actor=caller, changes=_changes(target.ban, None)
        )

    def force_password_reset(self, user_id: int, *, reason: str, caller: Caller, client: ClientInfo) -> None:
        """Remove the password of a user, revoke all sessions, and email a password reset code.

        The user gets a notification and, apart from it, a code that needs no flow ticket. Redis and rate limits do not
        prevent the reset: without a code the user requests one, as the notification says. Raises MailNotConfirmed for a
        temporary user, who has no password.
        """
        check_target(user_id, caller=caller)
        user = self.users.by_id(user_id)
        if user is None:
            raise UserUnknown
        if not user.verified_mail:
            raise MailNotConfirmed
        issued = self._issue_code(user, client)
        self.reset_codes.outbox.lock_address(user.address)
        target = lock_target(user_id, caller=caller)
        self.users.remove_password(user_id)
        revoke_sessions(user_id, reason="password_reset_forced", client=client, actor=caller)
        # A concurrent change of the password or the address has made the issued code invalid.
        if issued is not None and target.credential_version == user.credential_version:
            self.reset_codes.email(issued)
        self.audit_log.record(
            EventType.PASSWORD_RESET_FORCED, user_id=user_id, client=client, actor=caller, reason=reason
        )
        self.security_notifications.send("password_reset_forced", user_id=user_id, client=client)

    def delete(self, user_id: int, *, reason: str, caller: Caller, client: ClientInfo) -> None:
        """Delete a user, as users delete themselves; the user gets a notification. Raises LastAdministrator."""
        self.deletion.lock(user_id)
        check_target(user_id, caller=caller)
        user = self.users.by_id(user_id)
        if user is None:
            raise UserUnknown
        self.deletion.delete(user, actor=caller, client=client, reason=reason)

    def _issue_code(self, user: UserRecord, client: ClientInfo) -> IssuedCode | None:
        """Issue the code for the credential version that the account will have without its password.

        In Redis, before the user is locked. An attacker who uses up the codes of the address must not prevent the reset
        of a stolen account, and neither must a failure of Redis.
        """
        after = replace(user, credential_version=user.credential_version + 1)
        to = recipient(after, address=user.address, session_id=None)
        try:
            return self.reset_codes.issue(to, network=client.network)
        except (TooManyCodes, RedisUnavailable):
            return None

    def _notify_ban(self, user_id: int, target: Target, ban: Ban, *, client: ClientInfo) -> None:
        """Email the ban. A temporary user gets nothing: the owner of the address may not have registered it."""
        if target.verified_mail:
            self.security_notifications.send(
                "account_banned",
                user_id=user_id,
                client=client,
                reason=ban.reason,
                until="" if ban.until is None else f"{ban.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
            )


def _check_end(until: datetime | None, *, now: datetime) -> None:
    """Raise ValidationFailed unless a ban ends in the future, by the clock of the database."""
    if until is None:
        return
    if until <= now:
        message = "Send a time in the future, or no `until` for a ban without end."
        raise ValidationFailed(FieldError(field="until", reason=FieldReason.TOO_SMALL, msg=message))
    if until > now + LONGEST_BAN:
        message = "Send a time within the next hundred years, or no `until` for a ban without end."
        raise ValidationFailed(FieldError(field="until", reason=FieldReason.TOO_LARGE, msg=message))


def _changes(before: Ban | None, after: Ban | None) -> dict[str, list[object]]:
    """Return what a change of a ban changes, without the free text of its reason."""
    pairs: dict[str, list[object]] = {
        "banned": [before is not None, after is not None],
        "until": [before and before.until_text, after and after.until_text],
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
