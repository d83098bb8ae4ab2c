"""Account revert: a link in a security notification by which a user ends the takeover of the account."""

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
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.credentials.factor_removal import remove_factors
from auth_service.services.email.addresses import Address
from auth_service.services.email.statements import NewMessage, insert_once_cte
from auth_service.services.sessions.sessions import Sessions
from auth_service.services.users.security_notifications import SecurityNotifications
from auth_service.services.users.statements import ById, UserRecord
from auth_service.services.users.users import Users, next_factor_version

TOKEN_BYTES = 32
NEW_USER_PERIOD = timedelta(days=1)
"""The first session within this time after the registration needs no notification: the user has just opened it."""

EVENT_TYPES = {NEW_DEVICE: EventType.NEW_DEVICE_UNDONE, EMAIL_CHANGED: EventType.EMAIL_CHANGED_UNDONE}
"""The audit event of a revert, by the kind of its link; also the reason for which the sessions are revoked."""


def _notify_new_device() -> Any:
    """Write the notification about the session that is opened next, and its revert link, in one statement."""
    # CASE evaluates in order: only the sessions of a user who has just registered are searched.
    is_new_user = case(
        (
            User.verified_at > func.now() - NEW_USER_PERIOD,
            ~exists(select(Session.id).where(Session.user_id == User.id)),
        ),
        else_=false(),
    )
    owner = (
        select(User.id)
        .where(
            User.id == bindparam("user_id"),
            User.credential_version == bindparam("version"),
            ~User.is_banned(),
            ~is_new_user,
        )
        .with_for_update(read=True)  # a concurrent change of credentials or a ban rejects the sign-in: no notification
        .cte("owner")
    )
    message = insert_once_cte(owner)
    link = {
        "digest": bindparam("digest", type_=RevertLink.digest.type),
        "kind": literal_column(f"'{NEW_DEVICE}'"),
        "user_id": message.c.user_id,
        "expires_at": func.now() + bindparam("link_ttl", type_=Interval),
    }
    return insert(RevertLink).from_select(list(link), select(*link.values()))


class _NotifyNewDevice(NewMessage):
    version: int
    digest: bytes
    link_ttl: timedelta


def _address(email: str, key: str) -> Address:
    return Address(stored=email, key=key)


def _instant(value: datetime | None) -> datetime | None:
    return value


class _ByDigest(TypedDict):
    digest: bytes


class _NewLink(ById, _ByDigest):
    kind: str
    email: str | None
    email_key: str | None
    link_ttl: timedelta


class _SupersededLinks(ById):
    kind: str
    expires_at: datetime


class _Batch(TypedDict):
    at_most: int


class _RedeemedLink(NamedTuple):
    kind: str
    user_id: int
    email: str | None
    email_key: str | None
    expires_at: datetime


_by_digest = RevertLink.digest == bindparam("digest", type_=LargeBinary)
_is_valid = RevertLink.expires_at > func.now()
_of_user = RevertLink.user_id == bindparam("user_id")
_expires_at = func.now() + bindparam("link_ttl", type_=Interval)


def _delete_expired() -> Any:
    # Ordered, so that PostgreSQL reads the index and not the table until it has found a batch.
    expired = select(RevertLink.digest).where(RevertLink.expires_at <= func.now()).order_by(RevertLink.expires_at)
    batch = expired.limit(bindparam("at_most", type_=Integer)).with_for_update(skip_locked=True).cte("batch")
    return delete(RevertLink).where(RevertLink.digest == batch.c.digest).returning(literal_column("1"))


_NOTIFY_NEW_DEVICE = Write(_notify_new_device(), parameters=_NotifyNewDevice)
_ADD = Write(
    insert(RevertLink).values(
        digest=bindparam("digest"),
        kind=bindparam("kind"),
        user_id=bindparam("user_id"),
        email=bindparam("email"),
        email_key=bindparam("email_key"),
        expires_at=_expires_at,
    ),
    parameters=_NewLink,
)
_OWNER = Statement(select(RevertLink.user_id).where(_by_digest, _is_valid), parameters=_ByDigest, row=int)
_CONSUME = Statement(
    delete(RevertLink)
    .where(_by_digest, _is_valid)
    .returning(RevertLink.kind, RevertLink.user_id, RevertLink.email, RevertLink.email_key, RevertLink.expires_at),
    parameters=_ByDigest,
    row=_RedeemedLink,
)
# Links of earlier changes of the address stay. An attacker who changes the address twice receives the link of the
# second change; if redeeming it deleted the link of the first change, the owner could not revert the takeover.
_DELETE_SUPERSEDED = Write(
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
    parameters=_SupersededLinks,
)
_FORMER_ADDRESSES = Statement(
    select(RevertLink.email, RevertLink.email_key).where(_of_user, RevertLink.kind == EMAIL_CHANGED, _is_valid),
    parameters=ById,
    row=_address,
)
_OLDEST_NEW_DEVICE = Statement(
    select(func.min(RevertLink.expires_at)).where(_of_user, RevertLink.kind == NEW_DEVICE, _is_valid),
    parameters=ById,
    row=_instant,
)
_DELETE_EXPIRED = Statement(_delete_expired(), parameters=_Batch, row=int, prepared=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountRevert:
    """Issues revert links for security notifications, and redeems them. A link works once."""

    users: Users
    sessions: Sessions
    security_notifications: SecurityNotifications
    audit_log: AuditLog
    digests: Digests
    page: str
    """URL of the page of a link. The token follows as the fragment, which browsers do not send to servers."""
    ttl: timedelta
    """How long a link works."""

    def notify_new_device(self, user: UserRecord, *, client: ClientInfo) -> None:
        """Send a notification about a sign-in from an unknown device, with a link that reverts it.

        Call it before the session is opened: the first session of a user who has just registered causes no email. Other
        sign-ins cause at most one email for each day, device, network and credential version. Clients without cookies
        are unknown each time, so the day limits their emails. A change of credentials starts anew, because the link of
        the email before may have been redeemed.
        """
        token = secrets.token_urlsafe(TOKEN_BYTES)
        message = self.security_notifications.message(
            NEW_DEVICE,
            user_id=user.id,
            to=user.address,
            language=user.language,
            client=client,
            about=f"{clock.now():%Y-%m-%d} {user.credential_version} {client.network} {client.device}",
            **self._template_values(token),
        )
        transaction().write(
            _NOTIFY_NEW_DEVICE(
                {
                    **message,
                    "version": user.credential_version,
                    "digest": self.digests.of(token),
                    "link_ttl": self.ttl,
                }
            )
        )

    def link_for_changed_email(self, *, user_id: int, former: Address) -> dict[str, Any]:
        """Issue a link that restores the address `former`; return the values of the email template."""
        return self._link(user_id, kind=EMAIL_CHANGED, former=former)

    def link_for_reset_factors(self, user_id: int) -> dict[str, Any]:
        """Issue a link for a user whose second factors were removed; return the values of the email template.

        What an attacker does after the removal is a sign-in on a new device, so the link has that kind.
        """
        return self._link(user_id, kind=NEW_DEVICE, former=None)

    def redeem(self, token: str, *, client: ClientInfo) -> None:
        """Revert a takeover: revoke every session, remove the password, and restore a changed address.

        Second factors that were added since are removed. Locks the user before the link, the order of all flows, so
        that concurrent flows cannot deadlock. Raises UndoUnknown for an unknown, expired or redeemed link, and
        EmailTaken if another user has verified the former address meanwhile.
        """
        digest = self.digests.of(token)
        owner = fetch_one(_OWNER({"digest": digest}))
        if owner is None or self.users.lock_for_update(owner) is None:
            raise UndoUnknown
        link = transaction().fetch_one(_CONSUME({"digest": digest}))
        if link is None:
            raise UndoUnknown
        former = None
        if link.email is not None and link.email_key is not None:
            former = Address(stored=link.email, key=link.email_key)
        self.users.revert_takeover(link.user_id, email=former)
        remove_factors(link.user_id, since=self._begin_of_takeover(link))
        next_factor_version(link.user_id)
        transaction().write(
            _DELETE_SUPERSEDED({"user_id": link.user_id, "kind": link.kind, "expires_at": link.expires_at})
        )
        event_type = EVENT_TYPES[link.kind]
        self.sessions.revoke_all(user_id=link.user_id, reason=event_type.value, client=client)
        self.audit_log.record(event_type, user_id=link.user_id, client=client)

    def _begin_of_takeover(self, link: _RedeemedLink) -> datetime:
        """Return the time since which the account may be in the hands of an attacker.

        It is the time of the sign-in for which the link was issued. An attacker who changed the address had signed in
        before: at the earliest on the oldest new device whose link is still valid.
        """
        oldest = None
        if link.kind == EMAIL_CHANGED:
            oldest = transaction().fetch_one(_OLDEST_NEW_DEVICE({"user_id": link.user_id}))
        return min(link.expires_at, oldest or link.expires_at) - self.ttl

    def former_addresses(self, user_id: int) -> list[Address]:
        """Return the former addresses of an account that a valid link can still restore."""
        return transaction().fetch_all(_FORMER_ADDRESSES({"user_id": user_id}))

    def delete_expired(self, *, at_most: int) -> int:
        """Delete at most `at_most` expired links; return how many were deleted."""
        return len(transaction().fetch_all(_DELETE_EXPIRED({"at_most": at_most})))

    def _link(self, user_id: int, *, kind: str, former: Address | None) -> dict[str, Any]:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        transaction().write(
            _ADD(
                {
                    "digest": self.digests.of(token),
                    "kind": kind,
                    "user_id": user_id,
                    "email": former.stored if former else None,
                    "email_key": former.key if former else None,
                    "link_ttl": self.ttl,
                }
            )
        )
        return self._template_values(token)

    def _template_values(self, token: str) -> dict[str, Any]:
        return {"undo_url": f"{self.page}#{token}", "hours": self.ttl // timedelta(hours=1)}
