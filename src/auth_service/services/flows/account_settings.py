"""The account: its owner changes the password, or leaves."""

from dataclasses import dataclass

from auth_service.errors import AccountChanged, ReauthenticationRequired
from auth_service.models.audit_event import Kind
from auth_service.services.audit.events import History, Origin
from auth_service.services.credentials.one_time_codes import CodeNotEmailed, CodeSent, OneTimeCodes
from auth_service.services.credentials.passwords import Passwords
from auth_service.services.email.outbox import Outbox
from auth_service.services.flows.account_revert import Undos
from auth_service.services.flows.reauthentication import Proofs
from auth_service.services.sessions.sessions import Caller, Sessions
from auth_service.services.users.recipients import recipient
from auth_service.services.users.security_notifications import Notices
from auth_service.services.users.users import Users


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """What only the owner of an account does to it, signed in and with a fresh proof."""

    users: Users
    passwords: Passwords
    proofs: Proofs
    codes: OneTimeCodes
    sessions: Sessions
    undos: Undos
    history: History
    notices: Notices
    outbox: Outbox

    def change_password(self, caller: Caller, *, current: str, new: str, origin: Origin) -> None:
        """Put a new password in the place of the current one; ends all other sessions and tells the owner.

        Raises ValidationFailed before the current password is looked at, also for a new one that is the current one:
        whoever believes to have changed it must not be left with what somebody else may know. Raises PasswordNotSet,
        TooManyAttempts, PasswordWrong, AccountChanged, ServiceBusy.
        """
        person = self.users.owner(caller.id)
        self.passwords.check(new, email=person.email, field="new_password", current=current)
        self.proofs.by_password(person, current, purpose="password_change", origin=origin)
        phc = self.passwords.hashed(new)
        if not self.users.set_password(person, phc):
            raise AccountChanged
        # After the user's row: a session that is opened by the old password at this moment has waited for it and found
        # another version, or was there before and ends now.
        self.sessions.end_all(user_id=person.id, but=caller.session_id, reason="password_changed", origin=origin)
        self.history.note(Kind.PASSWORD_CHANGED, user_id=person.id, origin=origin, session_id=caller.session_id)
        self.notices.tell("password_changed", user_id=person.id, origin=origin)

    def send_deletion_code(self, caller: Caller, *, network: str) -> CodeSent:
        """Email a code that confirms a deletion from this session. Raises TooManyCodes, RedisUnavailable.

        TooManyCodes beyond the daily cap too: a signed-in user is known to exist, and would wait for the email in vain.
        """
        person = self.users.owner(caller.id)
        try:
            return self.codes.send(
                recipient(person, address=person.address, session_id=caller.session_id), network=network
            )
        except CodeNotEmailed:
            self.users.owner(caller.id)  # raises TokenInvalid if the account was deleted meanwhile
            raise self.outbox.refusal(person.address) from None

    def delete(self, caller: Caller, *, password: str | None, code: str | None, origin: Origin) -> None:
        """Delete the account: nothing of it can be used or brought back, and its history says no more whose it was.

        Raises ReauthenticationRequired without a password or a code, PasswordNotSet, TooManyAttempts, PasswordWrong,
        CodeWrong, CodeExpired, AccountChanged, ServiceBusy, RedisUnavailable.
        """
        person = self.users.owner(caller.id)
        if password is not None:
            self.proofs.by_password(person, password, purpose="deletion", origin=origin)
        elif code is not None:
            to = recipient(person, address=person.address, session_id=caller.session_id)
            self.proofs.by_code(code, codes=self.codes, to=to, caller=caller, purpose="deletion", origin=origin)
        else:
            raise ReauthenticationRequired
        if self.users.lock(person.id) != person.credential_version:
            raise AccountChanged
        # Whoever moved the account before deleting it must not be the only one to hear of that.
        former = self.undos.former_addresses(person.id)
        self.outbox.withdraw_all(user_id=person.id)
        self.users.delete(person.id)
        # Only now, when whatever was under way in its sessions has ended and is to be seen.
        self.history.forget_person(person.id)
        self.notices.tell_of_deletion(person, former=former)
