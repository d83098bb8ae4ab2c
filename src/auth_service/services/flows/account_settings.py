"""Account settings: password change and account deletion, both with reauthentication; language of emails."""

from dataclasses import dataclass

from auth_service.errors import AccountChanged, ReauthenticationRequired
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.credentials.one_time_codes import CodeSent, OneTimeCodes
from auth_service.services.credentials.passwords import Passwords
from auth_service.services.flows.account_deletion import AccountDeletion
from auth_service.services.flows.reauthentication import Reauthentication, send_session_code
from auth_service.services.sessions.sessions import CurrentUser, Sessions
from auth_service.services.users.recipients import recipient
from auth_service.services.users.security_notifications import SecurityNotifications
from auth_service.services.users.users import Users


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountSettings:
    """Changes that a signed-in user makes to the own account."""

    users: Users
    passwords: Passwords
    reauthentication: Reauthentication
    codes: OneTimeCodes
    sessions: Sessions
    deletion: AccountDeletion
    audit_log: AuditLog
    security_notifications: SecurityNotifications

    def change_password(self, current_user: CurrentUser, *, current: str, new: str, client: ClientInfo) -> None:
        """Change the password, revoke all other sessions, and send a security notification.

        Raises ValidationFailed before the current password is verified, also if both passwords are the same: a user who
        replaces a leaked password must not keep it. Raises PasswordNotSet, TooManyAttempts, PasswordWrong,
        AccountChanged, ServiceBusy.
        """
        user = self.users.signed_in_user(current_user.id)
        self.passwords.check(new, email=user.email, field="new_password", current=current)
        self.reauthentication.verify_password(user, current, purpose="password_change", client=client)
        password_hash = self.passwords.hash(new)
        if not self.users.set_password(user, password_hash):
            raise AccountChanged
        # After the update, which locks the row of the user. A concurrent sign-in with the old password either waits for
        # that lock and then finds another credential version, or has opened its session already, which is revoked here.
        self.sessions.revoke_all(
            user_id=user.id, all_but=current_user.session_id, reason="password_changed", client=client
        )
        self.audit_log.record(
            EventType.PASSWORD_CHANGED, user_id=user.id, client=client, session_id=current_user.session_id
        )
        self.security_notifications.send("password_changed", user_id=user.id, client=client)

    def change_language(self, current_user: CurrentUser, *, language: str, client: ClientInfo) -> None:
        """Change the language of all later emails; idempotent.

        A change is an audit event: security notifications in a language that the owner does not read hide an attack.
        """
        if self.users.set_language(current_user.id, language):
            self.audit_log.record(
                EventType.LANGUAGE_CHANGED,
                user_id=current_user.id,
                client=client,
                session_id=current_user.session_id,
                language=language,
            )

    def send_deletion_code(self, current_user: CurrentUser, *, network: str) -> CodeSent:
        """Send a code that confirms a deletion from this session. Raises TooManyCodes, RedisUnavailable."""
        return send_session_code(current_user, users=self.users, codes=self.codes, network=network)

    def delete(self, current_user: CurrentUser, *, password: str | None, code: str | None, client: ClientInfo) -> None:
        """Delete the account and everything that belongs to it; anonymize its audit events.

        Deletion is final. The current address and the former addresses of valid revert links get a notification.
        Raises ReauthenticationRequired without a password or a code, PasswordNotSet, TooManyAttempts, PasswordWrong,
        CodeWrong, CodeExpired, AccountChanged, LastAdministrator, ServiceBusy, RedisUnavailable.
        """
        user = self.users.signed_in_user(current_user.id)
        if password is not None:
            self.reauthentication.verify_password(user, password, purpose="deletion", client=client)
        elif code is not None:
            to = recipient(user, address=user.address, session_id=current_user.session_id)
            self.reauthentication.verify_code(
                code, codes=self.codes, to=to, current_user=current_user, purpose="deletion", client=client
            )
        else:
            raise ReauthenticationRequired
        if self.deletion.lock(user.id) != user.credential_version:
            raise AccountChanged
        self.deletion.delete(user, client=client)
