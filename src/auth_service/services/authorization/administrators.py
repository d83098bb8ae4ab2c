"""Administrators: one always remains, the first one proves control of a configured address, changes are notified."""

from dataclasses import dataclass

from auth_service.db import fetch_all, transaction
from auth_service.errors import LastAdministrator
from auth_service.models import PORTAL_ADMIN
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.authorization.statements import ADMINISTRATORS, GRANT, LOCK_ADMINISTRATORS
from auth_service.services.caller import SYSTEM
from auth_service.services.email.addresses import Address
from auth_service.services.users.security_notifications import SecurityNotifications


@dataclass(frozen=True, kw_only=True, slots=True)
class Administrators:
    """Guards the number of administrators. Every operation that can reduce it calls `lock` first."""

    audit_log: AuditLog
    security_notifications: SecurityNotifications
    first: Address | None
    """The address of `FIRST_ADMINISTRATOR`."""

    def count(self) -> int:
        """Return the number of administrators who can sign in."""
        return len(fetch_all(ADMINISTRATORS({})))

    def lock(self) -> None:
        """Exclude concurrent changes of the administrators until this unit of work ends.

        To be called before any row is locked: one lock order prevents deadlocks.
        """
        transaction().write(LOCK_ADMINISTRATORS({}))

    def require_another_than(self, user_id: int) -> None:
        """If the user is administrator, require that another one can sign in; under the lock.

        Raises LastAdministrator.
        """
        if transaction().fetch_all(ADMINISTRATORS({})) == [user_id]:
            raise LastAdministrator

    def lock_for_first(self, address: Address) -> None:
        """Take the lock if the user of this address may become the first administrator."""
        if self._is_first(address):
            self.lock()

    def promote_first(self, *, user_id: int, address: Address, client: ClientInfo) -> None:
        """Make the user who has just proved control of `FIRST_ADMINISTRATOR` administrator, while there is none.

        A flow that locks the user before has to call `lock_for_first` first. Of concurrent requests one finds none.
        """
        if not self._is_first(address):
            return
        self.lock()
        if transaction().fetch_all(ADMINISTRATORS({})):
            return
        if transaction().fetch_one(GRANT({"user_id": user_id, "name": PORTAL_ADMIN})) is not None:
            self.audit_log.record(
                EventType.ROLE_GRANTED,
                user_id=user_id,
                client=client,
                actor=SYSTEM,
                changes={"role": [None, PORTAL_ADMIN]},
                role=PORTAL_ADMIN,
            )
            self.notify_all(user_id=user_id, client=client, granted=True)

    def _is_first(self, address: Address) -> bool:
        return self.first is not None and address.key == self.first.key

    def notify_all(self, *, user_id: int, client: ClientInfo, granted: bool) -> None:
        """Send the notification about a granted or revoked `ROLE_PORTAL_ADMIN` to every administrator."""
        for administrator_id in transaction().fetch_all(ADMINISTRATORS({})):
            self.security_notifications.send(
                "administrators_changed",
                user_id=administrator_id,
                client=client,
                changed_user=str(user_id),
                granted=granted,
            )
