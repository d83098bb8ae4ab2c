"""Undos: a link in a letter takes back what was done to an account by somebody who is not its owner."""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Interval,
    bindparam,
    case,
    delete,
    exists,
    false,
    func,
    insert,
    literal_column,
    or_,
    select,
)

from auth_service import clock
from auth_service.adapters.crypto import Digests
from auth_service.errors import UndoUnknown
from auth_service.models import Prepared, Session, Undo, User, writing
from auth_service.models.account import EMAIL_CHANGED, NEW_DEVICE
from auth_service.models.prepared import Step
from auth_service.services.addresses import Address
from auth_service.services.history import History, Origin
from auth_service.services.notices import Notices
from auth_service.services.outbox import written_once
from auth_service.services.sessions import Sessions
from auth_service.services.users import Person, Users

TOKEN_BYTES = 32
NEWCOMER = timedelta(days=1)
"""For so long after confirming the address, the first session is no news to anybody."""


def _tell_of_new_device() -> Any:
    """A letter about the session that is to be opened next, unless nobody needs it, and the undo that it speaks of."""
    # In this order, so that only those who have just registered cost a look at all their sessions.
    newcomer = case(
        (User.verified_at > func.now() - NEWCOMER, ~exists(select(Session.id).where(Session.user_id == User.id))),
        else_=false(),
    )
    owner = (
        select(User.id)
        .where(User.id == bindparam("user_id"), User.credential_version == bindparam("version"), ~newcomer)
        .with_for_update(read=True)  # or else an account that changes meanwhile would be told of what is refused
        .cte("owner")
    )
    letter = written_once(owner)
    undo = {
        "digest": bindparam("digest", type_=Undo.digest.type),
        "kind": literal_column(f"'{NEW_DEVICE}'"),
        "user_id": letter.c.user_id,
        "expires_at": func.now() + bindparam("undo_lives", type_=Interval),
    }
    return insert(Undo).from_select(list(undo), select(*undo.values()))


_TELL_OF_NEW_DEVICE = Prepared(_tell_of_new_device())


@dataclass(frozen=True, kw_only=True, slots=True)
class Undos:
    """Makes links that undo, and undoes."""

    users: Users
    sessions: Sessions
    notices: Notices
    history: History
    digests: Digests
    page: str
    """The page that a link opens; the token follows behind `#`, so that no server on the way is told of it."""
    lives: timedelta

    def telling_of_new_device(self, person: Person, *, origin: Origin) -> Step:
        """What tells the owner of a session that is opened from an unknown device, with a link that takes it back.

        To be done before that, in the same transaction. Whoever has registered a moment ago knows of the first session.
        Everybody else is told once a day for what looks like one device in one network: whoever keeps no cookies, as
        programs do, is unknown every time. Not once for different passwords: the link in the letter before may have
        been used.
        """
        token = secrets.token_urlsafe(TOKEN_BYTES)
        letter = self.notices.letter(
            NEW_DEVICE,
            user_id=person.id,
            to=person.address,
            language=person.language,
            origin=origin,
            about=f"{clock.now():%Y-%m-%d} {person.credential_version} {origin.network} {origin.device}",
            **self._said(token),
        )
        given = {"version": person.credential_version, "digest": self.digests.of(token), "undo_lives": self.lives}
        return _TELL_OF_NEW_DEVICE, letter | given

    def for_changed_email(self, *, user_id: int, before: Address) -> dict[str, Any]:
        """What the letter about a changed address, to the address `before`, says of undoing."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        writing().execute(
            insert(Undo).values(
                digest=self.digests.of(token),
                kind=EMAIL_CHANGED,
                user_id=user_id,
                email=before.stored,
                email_key=before.key,
                expires_at=func.now() + self.lives,
            )
        )
        return self._said(token)

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

    def _said(self, token: str) -> dict[str, Any]:
        return {"undo_url": f"{self.page}#{token}", "hours": self.lives // timedelta(hours=1)}
