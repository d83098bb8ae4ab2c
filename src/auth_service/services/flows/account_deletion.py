"""Account deletion: the same steps for the user and for an administrator."""

from dataclasses import dataclass

from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.authorization.administrators import Administrators
from auth_service.services.caller import Caller
from auth_service.services.email.outbox import Outbox
from auth_service.services.flows.account_revert import AccountRevert
from auth_service.services.users.security_notifications import SecurityNotifications
from auth_service.services.users.statements import UserRecord
from auth_service.services.users.users import Users


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountDeletion:
    """Deletes accounts with everything that belongs to them. Locks: administrators, then the user."""

    users: Users
    administrators: Administrators
    account_revert: AccountRevert
    audit_log: AuditLog
    security_notifications: SecurityNotifications
    outbox: Outbox

    def lock(self, user_id: int) -> int | None:
        """Lock a user before `delete`; return the credential version, or None if the user is deleted."""
        # Before the lock of the user: the lock order of all operations that can reduce the number of administrators.
        self.administrators.lock()
        return self.users.lock_for_update(user_id)

    def delete(
        self,
        user: UserRecord,
        *,
        client: ClientInfo,
        actor: Caller | None = None,
        reason: str | None = None,
    ) -> None:
        """Delete a locked user; anonymize the audit events, and record the deletion.

        `actor` and `reason` are those of an administrator; None for the user itself. Deletion is final. The
        current address and the former addresses of valid revert links get a notification. Raises LastAdministrator.
        """
        self.administrators.require_another_than(user.id)
        # An attacker may have changed the address before the deletion: the owner is notified at the former addresses.
        former = self.account_revert.former_addresses(user.id)
        self.outbox.withdraw_all(user_id=user.id)
        self.users.delete(user.id)
        # After the deletion: it waits for concurrent flows of this user, whose audit events have to be anonymized too.
        self.audit_log.anonymize_user(user.id, actor=actor, client=client, reason=reason)
        self.security_notifications.notify_deletion(user, former=former)
