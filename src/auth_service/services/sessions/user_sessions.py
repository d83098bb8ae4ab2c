"""Session list of another user: administrators list the active sessions of a user and revoke them."""

import uuid
from dataclasses import dataclass

from auth_service.errors import SessionUnknown, UserUnknown
from auth_service.services.audit.events import ClientInfo
from auth_service.services.caller import Caller
from auth_service.services.pagination import Cursors, Page
from auth_service.services.sessions.my_sessions import OpenSession, page_of_sessions
from auth_service.services.sessions.revocation import revoke_sessions
from auth_service.services.users.users import Users, lock_shared

REASON = "revoked_by_administrator"
NO_SESSION = uuid.UUID(int=0)
"""In place of the session of the request, if a service sends it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UserSessions:
    """Lists and revokes the sessions of a user for an administrator or a service.

    `current` is the session of the request, None for a service. It is marked, and revoked only by its id: an
    administrator may look at the own account here.
    """

    users: Users
    cursors: Cursors

    def page(
        self, user_id: int, *, caller: Caller, current: uuid.UUID | None, cursor: str | None, limit: int
    ) -> Page[OpenSession]:
        """Return a page of the active sessions of a user, the newest first.

        Raises UserUnknown, and ValidationFailed for a cursor of another caller or user.
        """
        page = page_of_sessions(
            user_id,
            current=current or NO_SESSION,
            cursors=self.cursors,
            of=f"sessions of user {user_id}",
            cursor_owner=caller.subject,
            cursor=cursor,
            limit=limit,
        )
        if not page.items:
            self.users.public_by_id(user_id)
        return page

    def revoke(self, user_id: int, session_id: uuid.UUID, *, caller: Caller, client: ClientInfo) -> None:
        """Revoke one session of a user. Raises UserUnknown, SessionUnknown."""
        self._lock(user_id)
        if not revoke_sessions(user_id, only=session_id, reason=REASON, client=client, actor=caller):
            raise SessionUnknown

    def revoke_all(self, user_id: int, *, caller: Caller, current: uuid.UUID | None, client: ClientInfo) -> None:
        """Revoke all sessions of a user except that of the request; idempotent. Raises UserUnknown."""
        self._lock(user_id)
        revoke_sessions(user_id, all_but=current, reason=REASON, client=client, actor=caller)

    @staticmethod
    def _lock(user_id: int) -> None:
        """Lock the user before the sessions, as all flows do. Raises UserUnknown."""
        if not lock_shared(user_id):
            raise UserUnknown
