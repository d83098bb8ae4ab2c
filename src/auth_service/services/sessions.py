"""Sessions: opened by proof, kept alive by refreshing, ended by their owner or by a token that comes twice."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Self

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update

from auth_service import clock
from auth_service.adapters.access_tokens import AccessTokens, Claims, TokenRejected, kid_of
from auth_service.adapters.refresh_tokens import RefreshClaim, RefreshTokens
from auth_service.errors import RefreshRejected, SessionUnknown, TokenInvalid
from auth_service.models import Session, User, UserRole, db, reading
from auth_service.services.history import History, Origin
from auth_service.services.keyring import Keyring
from auth_service.services.notices import Notices
from auth_service.services.pages import Page

_live = and_(Session.ended_at.is_(None), Session.idle_at > func.now(), Session.expires_at > func.now())
_roles = select(func.array_agg(UserRole.role)).where(UserRole.user_id == User.id).scalar_subquery()
_caller = (
    select(
        User.id,
        User.email,
        User.verified_mail,
        _roles.label("roles"),
        Session.id.label("session_id"),
        Session.authenticated_at,
        Session.transport,
    )
    .join(Session, Session.user_id == User.id)
    .where(_live)
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """What a session gives its holder."""

    access_token: str | None = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: timedelta

    def hidden(self) -> Self:
        """The same without the tokens, for an answer whose cookies hold them."""
        return replace(self, access_token=None, refresh_token=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Whoever a good access token of a living session speaks for."""

    id: int
    email: str
    verified_mail: bool
    roles: Sequence[str]
    session_id: uuid.UUID
    authenticated_at: datetime
    transport: str
    claims: Claims


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionCard:
    """A living session as its owner sees it."""

    id: uuid.UUID
    device: str
    address: str
    method: str
    opened_at: datetime
    last_used_at: datetime
    current: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Sessions:
    """Sessions and their tokens. PostgreSQL alone knows what lives: a flush of Redis revives nothing."""

    keyring: Keyring
    access: AccessTokens
    refreshes: RefreshTokens
    history: History
    notices: Notices
    idle: timedelta
    absolute: timedelta
    grace: timedelta
    """How long a token that was used already gives the same successor, as long as that one is unused."""

    def open(self, *, user_id: int, method: str, transport: str, origin: Origin) -> Tokens:
        """Open a session for somebody who has just proved who they are; a new id every time."""
        session = Session(
            user_id=user_id,
            method=method,
            transport=transport,
            device=origin.device,
            address=origin.address,
            idle_at=func.now() + self.idle,
            expires_at=func.now() + self.absolute,
        )
        db.session.add(session)
        db.session.flush()
        self.history.note("signed_in", user_id=user_id, origin=origin, session_id=session.id, method=method)
        return self._tokens(user_id=user_id, session_id=session.id, counter=0)

    def refresh(self, *, token: str, origin: Origin) -> Tokens:
        """Exchange a refresh token for the next pair. Raises RefreshRejected.

        One conditional UPDATE decides who of many exchanges it. Everybody else who brings the same token soon enough
        is given the same successor; whoever brings an older one has stolen it, or been stolen from: the session ends.
        """
        claim = self.refreshes.read(token)
        if claim is None:
            raise RefreshRejected
        moved = db.session.execute(
            update(Session)
            .where(Session.id == claim.session_id, Session.counter == claim.counter, _live)
            .values(
                counter=Session.counter + 1,
                refreshed_at=func.now(),
                idle_at=func.least(func.now() + self.idle, Session.expires_at),
                address=origin.address,
                device=origin.device,
            )
            .returning(Session.user_id)
            .execution_options(synchronize_session=False)
        ).one_or_none()
        user_id = moved[0] if moved else self._served_before(claim, origin)
        return self._tokens(user_id=user_id, session_id=claim.session_id, counter=claim.counter + 1)

    def _served_before(self, claim: RefreshClaim, origin: Origin) -> int:
        """Whose session it is, if this token was exchanged a moment ago. Raises RefreshRejected, and ends a theft."""
        row = db.session.execute(
            select(
                Session.user_id, Session.counter, (Session.refreshed_at > func.now() - self.grace).label("recent")
            ).where(Session.id == claim.session_id, _live)
        ).one_or_none()
        if row is None or claim.counter >= row.counter:
            raise RefreshRejected
        if claim.counter == row.counter - 1 and row.recent:
            return int(row.user_id)
        self._end(Session.id == claim.session_id, reason="refresh_reused")
        self.history.note("refresh_reused", user_id=row.user_id, origin=origin, session_id=claim.session_id)
        self.notices.tell("refresh_reused", user_id=row.user_id, origin=origin, about=f"{claim.session_id}")
        raise RefreshRejected

    def caller(self, token: str) -> Caller:
        """Whom an access token speaks for, if its session lives. Raises TokenInvalid.

        The token's own claims are checked first, then one SELECT finds the session and its user: whatever was ended
        or changed a moment ago counts already.
        """
        try:
            claims = self.access.verify(token, self.keyring.knowing(kid_of(token)))
        except TokenRejected:
            raise TokenInvalid from None
        with reading() as connection:
            row = connection.execute(
                _caller.where(Session.id == claims.session_id, User.id == claims.user_id)
            ).one_or_none()
        if row is None:
            raise TokenInvalid
        return Caller(**row._mapping, claims=claims)  # noqa: SLF001 - SQLAlchemy's public name for it

    def of(self, caller: Caller) -> Page[SessionCard]:
        """The living sessions of the caller, the newest first."""
        rows = db.session.execute(
            select(Session).where(Session.user_id == caller.id, _live).order_by(Session.opened_at.desc())
        ).scalars()
        cards = [
            SessionCard(
                id=session.id,
                device=session.device,
                address=session.address,
                method=session.method,
                opened_at=session.opened_at,
                last_used_at=session.refreshed_at,
                current=session.id == caller.session_id,
            )
            for session in rows
        ]
        return Page(items=cards)

    def end(self, session_id: uuid.UUID, *, caller: Caller, origin: Origin) -> None:
        """End one session of the caller. Raises SessionUnknown, also for somebody else's."""
        ended = self._end(Session.id == session_id, Session.user_id == caller.id, reason="ended_by_owner")
        if not ended:
            raise SessionUnknown
        self.history.note("session_ended", user_id=caller.id, origin=origin, session_id=session_id)

    def sign_out(self, caller: Caller, *, origin: Origin) -> None:
        """End the session that the caller speaks from; doing it twice does no harm."""
        if self._end(Session.id == caller.session_id, Session.user_id == caller.id, reason="signed_out"):
            self.history.note("signed_out", user_id=caller.id, origin=origin, session_id=caller.session_id)

    def end_others(self, caller: Caller, *, origin: Origin) -> None:
        """End all sessions of the caller but the one that speaks."""
        self.end_all(user_id=caller.id, but=caller.session_id, reason="ended_by_owner", origin=origin)

    def end_all(self, *, user_id: int, reason: str, origin: Origin, but: uuid.UUID | None = None) -> None:
        """End the sessions of a user, each of them noted; `but` one, if it is given."""
        which = [Session.user_id == user_id, *([Session.id != but] if but else [])]
        for ended in self._end(*which, reason=reason):
            self.history.note("session_ended", user_id=user_id, origin=origin, session_id=ended, reason=reason)

    def forget_ended(self, *, older_than: timedelta) -> int:
        """Delete the rows of sessions that ended or ran out long ago; returns how many."""
        long_ago = func.now() - older_than
        gone = db.session.execute(
            delete(Session)
            .where(or_(Session.ended_at < long_ago, Session.expires_at < long_ago, Session.idle_at < long_ago))
            .returning(Session.id)
        )
        return len(gone.all())

    def _end(self, *which: ColumnElement[bool], reason: str) -> list[uuid.UUID]:
        ended = db.session.execute(
            update(Session)
            .where(*which, Session.ended_at.is_(None))
            .values(ended_at=func.now(), end_reason=reason)
            .returning(Session.id)
            .execution_options(synchronize_session=False)
        )
        return list(ended.scalars())

    def _tokens(self, *, user_id: int, session_id: uuid.UUID, counter: int) -> Tokens:
        roles = db.session.execute(select(UserRole.role).where(UserRole.user_id == user_id).order_by(UserRole.role))
        return Tokens(
            access_token=self.access.sign(
                self.keyring.now(), user_id=user_id, session_id=session_id, roles=list(roles.scalars()), now=clock.now()
            ),
            refresh_token=self.refreshes.make(session_id=session_id, counter=counter),
            expires_in=self.access.lifetime,
        )
