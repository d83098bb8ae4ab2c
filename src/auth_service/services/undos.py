"""Undos: a link in a letter takes back what was done to an account by somebody who is not its owner."""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, or_, select

from auth_service.adapters.crypto import Digests
from auth_service.errors import UndoUnknown
from auth_service.models import Undo, writing
from auth_service.models.account import EMAIL_CHANGED, NEW_DEVICE
from auth_service.services.addresses import Address
from auth_service.services.history import History, Origin
from auth_service.services.sessions import Sessions
from auth_service.services.users import Users

TOKEN_BYTES = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Undos:
    """Makes links that undo, and undoes."""

    users: Users
    sessions: Sessions
    history: History
    digests: Digests
    page: str
    """The page that a link opens; the token follows behind `#`, so that no server on the way is told of it."""
    lives: timedelta

    def for_new_device(self, *, user_id: int) -> dict[str, Any]:
        """What the letter about a new device says of undoing."""
        return self._link(NEW_DEVICE, user_id=user_id)

    def for_changed_email(self, *, user_id: int, before: Address) -> dict[str, Any]:
        """What the letter about a changed address, to the address `before`, says of undoing."""
        return self._link(EMAIL_CHANGED, user_id=user_id, email=before.stored, email_key=before.key)

    def carry_out(self, token: str, *, origin: Origin) -> None:
        """Take the account back: every session ends, no password fits any more, a changed address is as it was.

        Raises UndoUnknown for what is no living link, and EmailTaken if somebody else proved the address meanwhile.
        """
        living = Undo.digest == self.digests.of(token), Undo.expires_at > func.now()
        owner = writing().execute(select(Undo.user_id).where(*living)).scalar_one_or_none()
        if owner is None or self.users.lock(owner) is None:
            raise UndoUnknown
        undo = writing().execute(delete(Undo).where(*living).returning(Undo)).one_or_none()
        if undo is None:
            raise UndoUnknown
        before = None if undo.email is None else Address(stored=undo.email, key=undo.email_key)
        self.users.take_back(undo.user_id, email=before)
        # The links to addresses that the account had before that one stay: somebody who moved it twice could otherwise
        # use the link that the second letter brought them to take the first one from its owner.
        overtaken: ColumnElement[bool] = Undo.kind == NEW_DEVICE
        if undo.kind == EMAIL_CHANGED:
            overtaken = or_(overtaken, Undo.expires_at >= undo.expires_at)
        writing().execute(delete(Undo).where(Undo.user_id == undo.user_id, overtaken))
        self.sessions.end_all(user_id=undo.user_id, reason=f"{undo.kind}_undone", origin=origin)
        self.history.note(f"{undo.kind}_undone", user_id=undo.user_id, origin=origin)

    def former_addresses(self, user_id: int) -> list[Address]:
        """The addresses that can still be given back to an account."""
        living = select(Undo.email, Undo.email_key).where(
            Undo.user_id == user_id, Undo.kind == EMAIL_CHANGED, Undo.expires_at > func.now()
        )
        return [Address(stored=row.email, key=row.email_key) for row in writing().execute(living)]

    def forget_expired(self, *, at_most: int) -> int:
        """Delete some links that are worth nothing any more; returns how many."""
        expired = select(Undo.digest).where(Undo.expires_at <= func.now())
        some = expired.limit(at_most).with_for_update(skip_locked=True).cte("some")
        return len(writing().execute(delete(Undo).where(Undo.digest == some.c.digest).returning(Undo.kind)).all())

    def _link(self, kind: str, **about: Any) -> dict[str, Any]:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        writing().execute(
            insert(Undo).values(digest=self.digests.of(token), kind=kind, expires_at=func.now() + self.lives, **about)
        )
        return {"undo_url": f"{self.page}#{token}", "hours": self.lives // timedelta(hours=1)}
