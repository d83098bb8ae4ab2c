"""Undos: a link in a letter takes back what was done to an account by somebody who is not its owner."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import (
    DateTime,
    Integer,
    Interval,
    LargeBinary,
    Text,
    and_,
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
from auth_service.adapters.crypto.keys import Digests
from auth_service.db import Statement, Write, fetch_one, transaction
from auth_service.errors import UndoUnknown
from auth_service.models import RevertLink, Session, User
from auth_service.models.account_change import EMAIL_CHANGED, NEW_DEVICE
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.email.addresses import Address
from auth_service.services.email.statements import NewMessage, insert_once_cte
from auth_service.services.sessions.sessions import Sessions
from auth_service.services.users.security_notifications import SecurityNotifications
from auth_service.services.users.statements import ById, UserRecord
from auth_service.services.users.users import Users

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
    letter = insert_once_cte(owner)
    undo = {
        "digest": bindparam("digest", type_=RevertLink.digest.type),
        "kind": literal_column(f"'{NEW_DEVICE}'"),
        "user_id": letter.c.user_id,
        "expires_at": func.now() + bindparam("undo_lives", type_=Interval),
    }
    return insert(RevertLink).from_select(list(undo), select(*undo.values()))


class _TellOfNewDevice(NewMessage):
    version: int
    digest: bytes
    undo_lives: timedelta


def _address(email: str, key: str) -> Address:
    return Address(stored=email, key=key)


class _ByDigest(TypedDict):
    digest: bytes


class _NewUndo(ById, _ByDigest):
    email: str
    email_key: str
    undo_lives: timedelta


class _Overtaken(ById):
    kind: str
    expires_at: datetime


class _Limit(TypedDict):
    at_most: int


class _Living(NamedTuple):
    kind: str
    user_id: int
    email: str | None
    email_key: str | None
    expires_at: datetime


_by_digest = RevertLink.digest == bindparam("digest", type_=LargeBinary)
_lives = RevertLink.expires_at > func.now()
_of_user = RevertLink.user_id == bindparam("user_id")
_undo_expires = func.now() + bindparam("undo_lives", type_=Interval)


def _delete_expired() -> Any:
    expired = select(RevertLink.digest).where(RevertLink.expires_at <= func.now())
    some = expired.limit(bindparam("at_most", type_=Integer)).with_for_update(skip_locked=True).cte("some")
    return delete(RevertLink).where(RevertLink.digest == some.c.digest).returning(literal_column("1"))


_TELL_OF_NEW_DEVICE = Write(_tell_of_new_device(), parameters=_TellOfNewDevice)
_ADD = Write(
    insert(RevertLink).values(
        digest=bindparam("digest"),
        kind=literal_column(f"'{EMAIL_CHANGED}'"),
        user_id=bindparam("user_id"),
        email=bindparam("email"),
        email_key=bindparam("email_key"),
        expires_at=_undo_expires,
    ),
    parameters=_NewUndo,
)
_OWNER = Statement(select(RevertLink.user_id).where(_by_digest, _lives), parameters=_ByDigest, row=int)
_SPEND = Statement(
    delete(RevertLink)
    .where(_by_digest, _lives)
    .returning(RevertLink.kind, RevertLink.user_id, RevertLink.email, RevertLink.email_key, RevertLink.expires_at),
    parameters=_ByDigest,
    row=_Living,
)
# Links to addresses that the account had before that one stay: an attacker who moved the account twice could otherwise
# use the link that the second email brought them to take the first one from the owner.
_DELETE_OVERTAKEN = Write(
    delete(RevertLink).where(
        _of_user,
        or_(
            RevertLink.kind == NEW_DEVICE,
            and_(
                bindparam("kind", type_=Text) == EMAIL_CHANGED,
                RevertLink.expires_at >= bindparam("expires_at", type_=DateTime(timezone=True)),
            ),
        ),
    ),
    parameters=_Overtaken,
)
_FORMER = Statement(
    select(RevertLink.email, RevertLink.email_key).where(_of_user, RevertLink.kind == EMAIL_CHANGED, _lives),
    parameters=ById,
    row=_address,
)
_DELETE_EXPIRED = Statement(_delete_expired(), parameters=_Limit, row=int, prepared=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountRevert:
    """Makes links that undo, and undoes."""

    users: Users
    sessions: Sessions
    notices: SecurityNotifications
    history: AuditLog
    digests: Digests
    page: str
    """The page that a link opens; the token follows behind `#`, so that no server on the way is told of it."""
    lives: timedelta

    def notify_new_device(self, user: UserRecord, *, client: ClientInfo) -> None:
        """Tell the owner of the session that is opened from an unknown device, with a link that reverts it.

        Called before the session is opened: whether a session was opened before decides whether a user who has just
        registered is told. Otherwise one email a day is sent for a device and a network, since clients without cookies
        are unknown each time; not one for different passwords, since the link of the email before may have been used.
        """
        token = secrets.token_urlsafe(TOKEN_BYTES)
        letter = self.notices.letter(
            NEW_DEVICE,
            user_id=user.id,
            to=user.address,
            language=user.language,
            client=client,
            about=f"{clock.now():%Y-%m-%d} {user.credential_version} {client.network} {client.device}",
            **self._said(token),
        )
        transaction().write(
            _TELL_OF_NEW_DEVICE(
                {
                    **letter,
                    "version": user.credential_version,
                    "digest": self.digests.of(token),
                    "undo_lives": self.lives,
                }
            )
        )

    def for_changed_email(self, *, user_id: int, before: Address) -> dict[str, Any]:
        """What the letter about a changed address, to the address `before`, says of undoing."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        transaction().write(
            _ADD(
                {
                    "digest": self.digests.of(token),
                    "user_id": user_id,
                    "email": before.stored,
                    "email_key": before.key,
                    "undo_lives": self.lives,
                }
            )
        )
        return self._said(token)

    def redeem(self, token: str, *, client: ClientInfo) -> None:
        """Take the account back: every session ends, no password fits any more, a changed address is as it was.

        Raises UndoUnknown for what is no living link, and EmailTaken if somebody else proved the address meanwhile.
        """
        digest = self.digests.of(token)
        owner = fetch_one(_OWNER({"digest": digest}))
        if owner is None or self.users.lock(owner) is None:
            raise UndoUnknown
        undo = transaction().fetch_one(_SPEND({"digest": digest}))
        if undo is None:
            raise UndoUnknown
        before = None
        if undo.email is not None and undo.email_key is not None:
            before = Address(stored=undo.email, key=undo.email_key)
        self.users.take_back(undo.user_id, email=before)
        transaction().write(
            _DELETE_OVERTAKEN({"user_id": undo.user_id, "kind": undo.kind, "expires_at": undo.expires_at})
        )
        self.sessions.revoke_all(user_id=undo.user_id, reason=f"{undo.kind}_undone", client=client)
        self.history.record(f"{undo.kind}_undone", user_id=undo.user_id, client=client)

    def former_addresses(self, user_id: int) -> list[Address]:
        """The addresses that can still be given back to an account."""
        return transaction().fetch_all(_FORMER({"user_id": user_id}))

    def forget_expired(self, *, at_most: int) -> int:
        """Delete some links that are worth nothing any more; returns how many."""
        return len(transaction().fetch_all(_DELETE_EXPIRED({"at_most": at_most})))

    def _said(self, token: str) -> dict[str, Any]:
        return {"undo_url": f"{self.page}#{token}", "hours": self.lives // timedelta(hours=1)}
