"""The account: its owner changes the password, or leaves."""

from dataclasses import dataclass

from auth_service.errors import AccountChanged, ReauthenticationRequired
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.credentials.one_time_codes import CodeNotEmailed, CodeSent, OneTimeCodes
from auth_service.services.credentials.passwords import Passwords
from auth_service.services.email.outbox import Outbox
from auth_service.services.flows.account_revert import AccountRevert
from auth_service.services.flows.reauthentication import Reauthentication
from auth_service.services.sessions.sessions import CurrentUser, Sessions
from auth_service.services.users.recipients import recipient
from auth_service.services.users.security_notifications import SecurityNotifications
from auth_service.services.users.users import Users


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountSettings:
    """What only the owner of an account does to it, signed in and with a fresh proof."""

    users: Users
    passwords: Passwords
    reauthentication: Reauthentication
    codes: OneTimeCodes
    sessions: Sessions
    undos: AccountRevert
    history: AuditLog
    notices: SecurityNotifications
    outbox: Outbox

    def change_password(self, caller: CurrentUser, *, current: str, new: str, client: ClientInfo) -> None:
        """Put a new password in the place of the current one; ends all other sessions and tells the owner.

        Raises ValidationFailed before the current password is looked at, also for a new one that is the current one:
        whoever believes to have changed it must not be left with what somebody else may know. Raises PasswordNotSet,
        TooManyAttempts, PasswordWrong, AccountChanged, ServiceBusy.
        """
        user = self.users.owner(caller.id)
        self.passwords.check(new, email=user.email, field="new_password", current=current)
        self.reauthentication.by_password(user, current, purpose="password_change", client=client)
        password_hash = self.passwords.hash(new)
        if not self.users.set_password(user, password_hash):
            raise AccountChanged
        # After the user's row: a session that is opened by the old password at this moment has waited for it and found
        # another version, or was there before and ends now.
        self.sessions.revoke_all(user_id=user.id, but=caller.session_id, reason="password_changed", client=client)
        self.history.record(EventType.PASSWORD_CHANGED, user_id=user.id, client=client, session_id=caller.session_id)
        self.notices.tell("password_changed", user_id=user.id, client=client)

    def send_deletion_code(self, caller: CurrentUser, *, network: str) -> CodeSent:
        """Email a code that confirms a deletion from this session. Raises TooManyCodes, RedisUnavailable.

        TooManyCodes beyond the daily cap too: a signed-in user is known to exist, and would wait for the email in vain.
        """
        user = self.users.owner(caller.id)
        try:
            return self.codes.send(recipient(user, address=user.address, session_id=caller.session_id), network=network)
        except CodeNotEmailed:
            self.users.owner(caller.id)  # raises TokenInvalid if the account was deleted meanwhile
            raise self.outbox.refusal(user.address) from None

    def delete(self, caller: CurrentUser, *, password: str | None, code: str | None, client: ClientInfo) -> None:
        """Delete the account: nothing of it can be used or brought back, and its history says no more whose it was.

        Raises ReauthenticationRequired without a password or a code, PasswordNotSet, TooManyAttempts, PasswordWrong,
        CodeWrong, CodeExpired, AccountChanged, ServiceBusy, RedisUnavailable.
        """
        user = self.users.owner(caller.id)
        if password is not None:
            self.reauthentication.by_password(user, password, purpose="deletion", client=client)
        elif code is not None:
            to = recipient(user, address=user.address, session_id=caller.session_id)
            self.reauthentication.by_code(
                code, codes=self.codes, to=to, caller=caller, purpose="deletion", client=client
            )
        else:
            raise ReauthenticationRequired
        if self.users.lock(user.id) != user.credential_version:
            raise AccountChanged
        # Whoever moved the account before deleting it must not be the only one to hear of that.
        former = self.undos.former_addresses(user.id)
        self.outbox.withdraw_all(user_id=user.id)
        self.users.delete(user.id)
        # Only now, when whatever was under way in its sessions has ended and is to be seen.
        self.history.anonymize_user(user.id)
        self.notices.notify_deletion(user, former=former)
