"""Password reset: a user who cannot sign in sets a new password with an emailed code."""

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
    """Resets passwords. A reset opens no session and revokes all existing ones (ASVS 7.4.3)."""

    users: Users
    passwords: Passwords
    codes: OneTimeCodes
    sessions: Sessions
    audit_log: AuditLog
    security_notifications: SecurityNotifications

    def send_code(self, *, email: Address, ticket: str | None, network: str) -> CodeSent:
        """Send a code to the address, if it belongs to a user. Raises TooManyCodes, RedisUnavailable."""
        return self.codes.send(recipient_or_decoy(email, self.users.by_email(email)), ticket=ticket, network=network)

    def set_password(
        self, *, email: Address, code: str, new_password: str, ticket: str | None, client: ClientInfo
    ) -> None:
        """Set a new password with the code of the newest email to the address.

        Raises ValidationFailed before the code is verified, CodeWrong and CodeExpired alike for known and unknown
        addresses, ServiceBusy, RedisUnavailable.
        """
        # Validated and hashed before the code is verified, so that a rejected password or ServiceBusy does not consume
        # the code; for unknown addresses too, as constant work (user enumeration by timing).
        password_hash = self.passwords.check_and_hash(new_password, email=email.stored, field="new_password")
        user = self.users.by_email(email)
        try:
            self.codes.verify_and_consume(code, recipient_or_decoy(email, user), ticket=ticket)
        except (CodeWrong, CodeExpired):
            # For unknown addresses too: constant work prevents user enumeration by timing (ASVS 6.3.8).
            self.audit_log.record_anonymous_failure(
                EventType.RECOVERY_REFUSED, user_id=user.id if user else None, client=client
            )
            raise
        # An unknown address got no email, so the client guessed the decoy code. A changed credential version means that
        # a concurrent request has changed the account, to which the code is not bound any more.
        if user is None or not self.users.set_password(user, password_hash):
            raise CodeExpired
        self.sessions.revoke_all(user_id=user.id, reason="password_recovered", client=client)
        self.audit_log.record(EventType.PASSWORD_RECOVERED, user_id=user.id, client=client)
        self.security_notifications.send("password_recovered", user_id=user.id, client=client)
