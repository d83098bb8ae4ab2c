"""SQL statements about invitations, with their typed parameters and rows."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import (
    DateTime,
    Integer,
    Interval,
    Text,
    and_,
    bindparam,
    case,
    delete,
    func,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from auth_service.db import Statement, Write
from auth_service.models import Invitation
from auth_service.models.invitation import InvitationState
from auth_service.services.email.addresses import Address

# Statements are built at import: building one costs about as much as running it.


class ById(TypedDict):
    """Parameters of a statement about one invitation."""

    invitation_id: uuid.UUID


class ByDigest(TypedDict):
    """Parameters of a statement about the invitation with a link, by the digest of the token."""

    digest: bytes


class ByKey(TypedDict):
    """Parameters of a statement about the open invitation of a normalised address."""

    key: str


class Create(TypedDict):
    """Parameters of a new invitation."""

    id: uuid.UUID
    email: str
    email_key: str
    language: str
    roles: Sequence[str]
    digest: bytes
    invited_by: str
    link_ttl: timedelta


class Renew(ById, ByDigest):
    """Parameters of a new link for an open invitation."""

    link_ttl: timedelta


class Accept(ById):
    """Parameters of the acceptance of an invitation."""

    user_id: int


class PageBefore(TypedDict):
    """Parameters of a page of invitations, the newest first."""

    state: str | None
    created_at: datetime
    before: uuid.UUID
    at_most: int


class Ended(TypedDict):
    """Parameters of the deletion of invitations that ended long ago."""

    older_than: timedelta
    at_most: int


class InvitationRecord(NamedTuple):
    """An invitation without the digest of its token."""

    id: uuid.UUID
    email: str
    email_key: str
    language: str
    roles: Sequence[str]
    invited_by: str
    state: str
    created_at: datetime
    expires_at: datetime

    @property
    def address(self) -> Address:
        """The invited address."""
        return Address(stored=self.email, key=self.email_key)


_by_id = Invitation.id == bindparam("invitation_id", type_=Invitation.id.type)
_by_digest = Invitation.digest == bindparam("digest", type_=Invitation.digest.type)
_is_open = and_(Invitation.accepted_at.is_(None), Invitation.revoked_at.is_(None))
_expires_at = func.now() + bindparam("link_ttl", type_=Interval)
_open_or_expired = case(
    (Invitation.expires_at <= func.now(), literal(InvitationState.EXPIRED.value)),
    else_=literal(InvitationState.OPEN.value),
)
_state = case(
    (Invitation.accepted_at.is_not(None), literal(InvitationState.ACCEPTED.value)),
    (Invitation.revoked_at.is_not(None), literal(InvitationState.REVOKED.value)),
    else_=_open_or_expired,
)
_columns = (
    Invitation.id,
    Invitation.email,
    Invitation.email_key,
    Invitation.language,
    Invitation.roles,
    Invitation.invited_by,
    _state,
    Invitation.created_at,
    Invitation.expires_at,
)
_record = select(*_columns)
_has_valid_link = and_(_by_digest, _is_open, Invitation.expires_at > func.now())

CREATE = Statement(
    insert(Invitation)
    .values(
        {
            name: bindparam(name, type_=Invitation.__table__.c[name].type)
            for name in ("id", "email", "email_key", "language", "roles", "digest", "invited_by")
        }
        | {"expires_at": _expires_at}
    )
    # Concurrent invitations of one address wait for the first one.
    .on_conflict_do_nothing(index_elements=[Invitation.email_key], index_where=_is_open)
    .returning(*_columns),
    parameters=Create,
    row=InvitationRecord,
    prepared=False,
)
OPEN_OF_ADDRESS = Statement(
    select(Invitation.id).where(Invitation.email_key == bindparam("key", type_=Text), _is_open),
    parameters=ByKey,
    row=str,
    prepared=False,
)
BY_ID = Statement(_record.where(_by_id), parameters=ById, row=InvitationRecord, prepared=False)
BY_LINK = Statement(_record.where(_has_valid_link), parameters=ByDigest, row=InvitationRecord)
# A statement that waits for the lock reads the conditions anew: of concurrent acceptances, revocations and new links of
# one invitation the first one wins.
LOCK_BY_LINK = Statement(
    _record.where(_has_valid_link).with_for_update(), parameters=ByDigest, row=InvitationRecord, prepared=False
)
ACCEPT = Write(
    update(Invitation).where(_by_id).values(accepted_at=func.now(), user_id=bindparam("user_id")),
    parameters=Accept,
    prepared=False,
)
RENEW = Statement(
    update(Invitation)
    .where(_by_id, _is_open)
    .values(digest=bindparam("digest", type_=Invitation.digest.type), sent_at=func.now(), expires_at=_expires_at)
    .returning(Invitation.id),
    parameters=Renew,
    row=str,
    prepared=False,
)
REVOKE = Statement(
    update(Invitation).where(_by_id, _is_open).values(revoked_at=func.now()).returning(_open_or_expired),
    parameters=ById,
    row=str,
    prepared=False,
)
"""Returns the state before the revocation."""

_wanted = bindparam("state", type_=Text)
PAGE = Statement(
    _record.where(
        tuple_(Invitation.created_at, Invitation.id)
        < tuple_(bindparam("created_at", type_=DateTime(timezone=True)), bindparam("before", type_=Invitation.id.type)),
        or_(_wanted.is_(None), _state == _wanted),
    )
    .order_by(Invitation.created_at.desc(), Invitation.id.desc())
    .limit(bindparam("at_most", type_=Integer)),
    parameters=PageBefore,
    row=InvitationRecord,
    prepared=False,
)


def _delete_ended() -> Any:
    # Ordered, so that PostgreSQL reads the index and not the table until it has found a batch.
    ended_at = func.coalesce(Invitation.accepted_at, Invitation.revoked_at, Invitation.expires_at)
    old = (
        select(Invitation.id).where(ended_at < func.now() - bindparam("older_than", type_=Interval)).order_by(ended_at)
    )
    batch = old.limit(bindparam("at_most", type_=Integer)).with_for_update(skip_locked=True).cte("batch")
    return delete(Invitation).where(Invitation.id == batch.c.id).returning(literal_column("1"))


DELETE_ENDED = Statement(_delete_ended(), parameters=Ended, row=int, prepared=False)
