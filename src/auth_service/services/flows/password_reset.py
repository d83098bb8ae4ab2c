"""Recovery: somebody who cannot sign in proves the address again, and sets a new password."""

from dataclasses import dataclass

from auth_service.errors import CodeExpired, CodeWrong
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.credentials.one_time_codes import CodeSent, OneTimeCodes
from auth_service.services.credentials.passwords import Passwords
from auth_service.services.email.addresses import Address
from auth_service.services.sessions.sessions import Sessions
from auth_service.services.users.recipients import recipient_or_decoy
from auth_service.services.users.security_notifications import SecurityNotifications
from auth_service.services.users.users import Users


@dataclass(frozen=True, kw_only=True, slots=True)
class PasswordReset:
    """Sets passwords for those who read an address now. Opens no session, and ends all there are."""

    users: Users
    passwords: Passwords
    codes: OneTimeCodes
    sessions: Sessions
    history: AuditLog
    notices: SecurityNotifications

    def send_code(self, *, email: Address, ticket: str | None, network: str) -> CodeSent:
        """Mail a code to set a password with, if there is somebody. Raises TooManyCodes, RedisUnavailable."""
        return self.codes.send(recipient_or_decoy(email, self.users.by_email(email)), ticket=ticket, network=network)

    def set_password(
        self, *, email: Address, code: str, new_password: str, ticket: str | None, client: ClientInfo
    ) -> None:
        """Set a password for an address and a code from its newest letter.

        Raises ValidationFailed before the code is looked at, CodeWrong and CodeExpired alike for known and unknown
        addresses, ServiceBusy and RedisUnavailable.
        """
        # Hashed first, for everybody: a service that is busy, or a password that is refused, must not cost the code.
        password_hash = self.passwords.check_and_hash(new_password, email=email.stored, field="new_password")
        user = self.users.by_email(email)
        try:
            self.codes.verify_and_consume(code, recipient_or_decoy(email, user), ticket=ticket)
        except (CodeWrong, CodeExpired):
            # Also of nobody: it must not show in the time that it takes.
            self.history.record_failure(EventType.RECOVERY_REFUSED, user_id=user.id if user else None, client=client)
            raise
        # For nobody there was no letter, so the code was guessed. And if the account was changed since it was read, the
        # code was for the account as it was.
        if user is None or not self.users.set_password(user, password_hash):
            raise CodeExpired
        self.sessions.revoke_all(user_id=user.id, reason="password_recovered", client=client)
        self.history.record(EventType.PASSWORD_RECOVERED, user_id=user.id, client=client)
        self.notices.tell("password_recovered", user_id=user.id, client=client)
