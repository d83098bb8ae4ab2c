"""Sessions: opened by proof, kept alive by refreshing, ended by their owner or by a token that comes twice."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Self

from sqlalchemy import ColumnElement, Interval, and_, bindparam, delete, func, insert, or_, select, update

from auth_service import clock
from auth_service.adapters.access_tokens import AccessTokens, Claims, KeyRing, TokenRejected, kid_of
from auth_service.adapters.refresh_tokens import RefreshClaim, RefreshTokens
from auth_service.errors import CredentialsRejected, RefreshRejected, SessionUnknown, TokenInvalid
from auth_service.models import Session, User, UserRole, reading, writing
from auth_service.services.history import History, Origin
from auth_service.services.keyring import Keyring
from auth_service.services.notices import Notices
from auth_service.services.pages import Page
from auth_service.services.users import Person

# Statements are made once: making one, and the key under which its SQL is cached, costs as much as running it.

_live = and_(Session.ended_at.is_(None), Session.idle_at > func.now(), Session.expires_at > func.now())


def _roles(owner: Any) -> Any:
    return select(func.array_agg(UserRole.role)).where(UserRole.user_id == owner).scalar_subquery().label("roles")


_owner = bindparam("owner", type_=User.id.type)

_OPEN = (
    insert(Session)
    .from_select(
        ["id", "user_id", "method", "transport", "device", "address", "idle_at", "expires_at"],
        select(
            bindparam("session", type_=Session.id.type),
            User.id,
            *(
                bindparam(name, type_=Session.__table__.c[name].type)
                for name in ("method", "transport", "device", "address")
            ),
            func.now() + bindparam("idle", type_=Interval),
            func.now() + bindparam("absolute", type_=Interval),
        )
        .where(User.id == _owner, User.credential_version == bindparam("version"))
        # Whoever changes the password at this moment waits for us and ends this session too, or we wait and find
        # another version: nobody stays signed in by a password that was changed.
        .with_for_update(read=True),
    )
    # By the parameter: SQLAlchemy does not correlate a subquery of an INSERT's RETURNING with the table that is written
    # to, but would let it look at everybody's sessions.
    .returning(_roles(_owner))
)

_REFRESH = (
    update(Session)
    .where(Session.id == bindparam("session"), Session.counter == bindparam("used"), _live)
    .values(
        counter=Session.counter + 1,
        refreshed_at=func.now(),
        idle_at=func.least(func.now() + bindparam("idle", type_=Interval), Session.expires_at),
        device=bindparam("seen_device"),
        address=bindparam("seen_address"),
    )
    .returning(Session.user_id, _roles(Session.user_id))
)

_SERVED_BEFORE = select(
    Session.user_id,
    Session.counter,
    (Session.refreshed_at > func.now() - bindparam("grace", type_=Interval)).label("recent"),
    _roles(Session.user_id),
).where(Session.id == bindparam("session"), _live)

_CALLER = (
    select(
        User.id,
        User.email,
        User.verified_mail,
        _roles(User.id),
        Session.id.label("session_id"),
        Session.authenticated_at,
        Session.transport,
    )
    .join(Session, Session.user_id == User.id)
    .where(_live, Session.id == bindparam("session"), User.id == bindparam("owner"))
)

_LIST = (
    select(
        Session.id,
        Session.device,
        func.host(Session.address).label("address"),
        Session.method,
        Session.opened_at,
        Session.refreshed_at.label("last_used_at"),
        (Session.id == bindparam("current")).label("current"),
    )
    .where(Session.user_id == bindparam("owner"), _live)
    .order_by(Session.opened_at.desc(), Session.id)
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """What a session gives its holder."""

    session_id: uuid.UUID
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
class OpenSession:
    """A living session as its owner sees it; `last_used_at` is when its tokens were last refreshed."""

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

    def open(self, person: Person, *, method: str, transport: str, origin: Origin) -> Tokens:
        """Open a session for somebody who has just proved who they are; a new id every time.

        Raises CredentialsRejected if the account was changed since the proof.
        """
        ring = self.keyring.now()  # before the unit of work has a connection, of which this may need one itself
        session_id = uuid.uuid4()
        given = {"session": session_id, "owner": person.id, "version": person.credential_version, "method": method}
        given |= {"transport": transport, "device": origin.device, "address": origin.address}
        opened = writing().execute(_OPEN, given | {"idle": self.idle, "absolute": self.absolute}).one_or_none()
        if opened is None:
            raise CredentialsRejected
        self.history.note("signed_in", user_id=person.id, origin=origin, session_id=session_id, method=method)
        return self._tokens(ring, user_id=person.id, session_id=session_id, counter=0, roles=opened.roles)

    def refresh(self, *, token: str, origin: Origin) -> Tokens:
        """Exchange a refresh token for the next pair. Raises RefreshRejected.

        One conditional UPDATE decides who of many exchanges it. Everybody else who brings the same token soon enough
        is given the same successor; whoever brings an older one has stolen it, or been stolen from: the session ends.
        """
        claim = self.refreshes.read(token)
        if claim is None:
            raise RefreshRejected
        ring = self.keyring.now()
        seen = {"seen_device": origin.device, "seen_address": origin.address, "idle": self.idle}
        moved = writing().execute(_REFRESH, {"session": claim.session_id, "used": claim.counter, **seen})
        owner = moved.one_or_none() or self._served_before(claim, origin)
        return self._tokens(
            ring, user_id=owner.user_id, session_id=claim.session_id, counter=claim.counter + 1, roles=owner.roles
        )

    def _served_before(self, claim: RefreshClaim, origin: Origin) -> Any:
        """The owner and roles, if this token was exchanged a moment ago. Raises RefreshRejected, and ends a theft."""
        found = writing().execute(_SERVED_BEFORE, {"session": claim.session_id, "grace": self.grace}).one_or_none()
        if found is None or claim.counter >= found.counter:
            raise RefreshRejected
        if claim.counter == found.counter - 1 and found.recent:
            return found
        # Only if nothing happened meanwhile: of many who bring a stolen token at once, one ends the session.
        if self._end(Session.id == claim.session_id, reason="refresh_reused"):
            self.history.note("refresh_reused", user_id=found.user_id, origin=origin, session_id=claim.session_id)
            self.notices.tell("refresh_reused", user_id=found.user_id, origin=origin, about=f"{claim.session_id}")
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
            row = connection.execute(_CALLER, {"session": claims.session_id, "owner": claims.user_id}).one_or_none()
        if row is None:
            raise TokenInvalid
        return Caller(
            id=row.id,
            email=row.email,
            verified_mail=row.verified_mail,
            roles=sorted(row.roles or ()),
            session_id=row.session_id,
            authenticated_at=row.authenticated_at,
            transport=row.transport,
            claims=claims,
        )

    def of(self, caller: Caller) -> Page[OpenSession]:
        """The living sessions of the caller, the newest first."""
        with reading() as connection:
            rows = connection.execute(_LIST, {"owner": caller.id, "current": caller.session_id}).mappings().all()
        return Page(items=[OpenSession(**row) for row in rows])

    def end(self, session_id: uuid.UUID, *, caller: Caller, origin: Origin) -> None:
        """End one session of the caller. Raises SessionUnknown, also for somebody else's."""
        if not self._end(Session.id == session_id, Session.user_id == caller.id, reason="ended_by_owner"):
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
        gone = delete(Session).where(
            or_(Session.ended_at < long_ago, Session.expires_at < long_ago, Session.idle_at < long_ago)
        )
        return len(writing().execute(gone.returning(Session.id)).all())

    def _end(self, *which: ColumnElement[bool], reason: str) -> list[uuid.UUID]:
        ended = (
            update(Session)
            .where(*which, Session.ended_at.is_(None))
            .values(ended_at=func.now(), end_reason=reason)
            .returning(Session.id)
        )
        return list(writing().execute(ended).scalars())

    def _tokens(
        self, ring: KeyRing, *, user_id: int, session_id: uuid.UUID, counter: int, roles: Sequence[str] | None
    ) -> Tokens:
        return Tokens(
            session_id=session_id,
            access_token=self.access.sign(
                ring,
                user_id=user_id,
                session_id=session_id,
                roles=sorted(roles or ()),
                now=clock.now(),
            ),
            refresh_token=self.refreshes.make(session_id=session_id, counter=counter),
            expires_in=self.access.lifetime,
        )
