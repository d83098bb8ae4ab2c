"""Sessions: opened by proof, kept alive by refreshing, ended by their owner or by a token that comes twice."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Self

from sqlalchemy import Interval, bindparam, func, insert, literal, select, update

from auth_service import clock
from auth_service.adapters.access_tokens import AccessTokens, Claims, KeySet, TokenRejected, kid_of
from auth_service.adapters.refresh_tokens import RefreshClaim, RefreshTokens
from auth_service.errors import CredentialsRejected, RefreshRejected, TokenInvalid
from auth_service.models import (
    Prepared,
    Session,
    User,
    UserRole,
    read_at_once,
    reading,
    unit_of_work,
    written_at_once,
)
from auth_service.models.event import FAILURE, Kind
from auth_service.models.prepared import Step
from auth_service.services.endings import end
from auth_service.services.history import History, Origin, noted
from auth_service.services.keyring import Keyring
from auth_service.services.notices import Notices
from auth_service.services.users import Person, hold

# Statements are built at import: building one costs about as much as running it.

_live = Session.lives()


def _roles(owner: Any) -> Any:
    return select(func.array_agg(UserRole.role)).where(UserRole.user_id == owner).scalar_subquery().label("roles")


def _open() -> Any:
    """A session of somebody whose account is as it was when they proved who they are, noted in the history."""
    given = {name: bindparam(name, type_=Session.__table__.c[name].type) for name in ("id", "method", "transport")}
    seen = {name: bindparam(f"seen_{name}", type_=Session.__table__.c[name].type) for name in ("device", "address")}
    lives = {
        "idle_at": func.now() + bindparam("idle", type_=Interval),
        "expires_at": func.now() + bindparam("absolute", type_=Interval),
    }
    values = {"user_id": User.id, "counter": literal(0), **given, **seen, **lives}
    owner = (
        select(*values.values())
        .where(User.id == bindparam("owner"), User.credential_version == bindparam("version"))
        # Whoever changes the password at this moment waits for us and ends this session too, or we wait and find
        # another version: nobody stays signed in by a password that was changed.
        .with_for_update(read=True)
    )
    opened = (
        insert(Session)
        .from_select(list(values), owner, include_defaults=False)
        .returning(Session.id, Session.user_id, Session.method)
        .cte("opened")
    )
    signed_in = noted(Kind.SIGNED_IN, about=opened, session_id=opened.c.id, method=opened.c.method)
    return select(_roles(opened.c.user_id)).select_from(opened).add_cte(signed_in)


_OPEN = Prepared(_open())

_REFRESH = Prepared(
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

_SERVED_BEFORE = Prepared(
    select(
        Session.user_id,
        _roles(Session.user_id),
        Session.counter,
        Session.refreshed_at > func.now() - bindparam("grace", type_=Interval),
    ).where(Session.id == bindparam("session"), _live)
)

_CALLER = Prepared(
    select(
        User.id,
        User.email,
        User.verified_mail,
        _roles(User.id),
        Session.authenticated_at,
        Session.transport,
    )
    .join(Session, Session.user_id == User.id)
    .where(_live, Session.id == bindparam("session"), User.id == bindparam("owner"))
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

    def open(
        self, person: Person, *, method: str, transport: str, origin: Origin, besides: Sequence[Step] = ()
    ) -> Tokens:
        """Open a session for somebody who has just proved who they are; a new id every time.

        `besides` is done before it, in the same transaction. Raises CredentialsRejected if the account was changed
        since the proof.
        """
        keys = self.keyring.signing()  # before the unit of work has a connection, of which this may need one itself
        session_id = uuid.uuid4()
        given = {"id": session_id, "owner": person.id, "version": person.credential_version, "method": method}
        given |= {"transport": transport, "seen_device": origin.device, "seen_address": origin.address}
        opened = written_at_once(*besides, (_OPEN, given | {"idle": self.idle, "absolute": self.absolute}))
        if opened is None:
            raise CredentialsRejected
        return self._tokens(keys, user_id=person.id, session_id=session_id, counter=0, roles=opened[0])

    def refresh(self, *, token: str, origin: Origin) -> Tokens:
        """Exchange a refresh token for the next pair. Raises RefreshRejected.

        One conditional UPDATE decides who of many exchanges it. Everybody else who brings the same token soon enough
        is given the same successor; whoever brings an older one has stolen it, or been stolen from: the session ends.
        """
        claim = self.refreshes.read(token)
        if claim is None:
            raise RefreshRejected
        keys = self.keyring.signing()
        seen = {"seen_device": origin.device, "seen_address": origin.address, "idle": self.idle}
        moved = written_at_once((_REFRESH, {"session": claim.session_id, "used": claim.counter, **seen}))
        owner, roles = moved or self._served_before(claim, origin)
        return self._tokens(keys, user_id=owner, session_id=claim.session_id, counter=claim.counter + 1, roles=roles)

    def _served_before(self, claim: RefreshClaim, origin: Origin) -> tuple[int, Sequence[str] | None]:
        """The owner and roles, if this token was exchanged a moment ago. Raises RefreshRejected, and ends a theft."""
        found = read_at_once(_SERVED_BEFORE, session=claim.session_id, grace=self.grace)
        if found is None:
            raise RefreshRejected
        owner, roles, counter, recent = found
        if claim.counter >= counter:
            raise RefreshRejected
        if claim.counter == counter - 1 and recent:
            return owner, roles
        self._end_theft(claim.session_id, owner=owner, origin=origin)
        raise RefreshRejected

    def _end_theft(self, session_id: uuid.UUID, *, owner: int, origin: Origin) -> None:
        # A unit of work of its own: the exchange that found nothing to move was one, too. The letter names the user,
        # whom a deletion locks before the sessions: so its row comes first here, too. Of many who bring a stolen token
        # at once, one ends the session.
        with unit_of_work():
            if hold(owner) and end(
                Session.id == session_id,
                history=self.history,
                reason="refresh_reused",
                origin=origin,
                kind=Kind.REFRESH_REUSED,
                outcome=FAILURE,
            ):
                self.notices.tell("refresh_reused", user_id=owner, origin=origin, about=f"{session_id}")

    def caller(self, token: str) -> Caller:
        """Whom an access token speaks for, if its session lives. Raises TokenInvalid.

        The token's own claims are checked first, then one SELECT finds the session and its user: whatever was ended
        or changed a moment ago counts already.
        """
        try:
            claims = self.access.verify(token, self.keyring.knowing(kid_of(token)))
        except TokenRejected:
            raise TokenInvalid from None
        row = read_at_once(_CALLER, session=claims.session_id, owner=claims.user_id)
        if row is None:
            raise TokenInvalid
        user_id, email, verified_mail, roles, authenticated_at, transport = row
        return Caller(
            id=user_id,
            email=email,
            verified_mail=verified_mail,
            roles=sorted(roles or ()),
            session_id=claims.session_id,
            authenticated_at=authenticated_at,
            transport=transport,
            claims=claims,
        )

    def is_fresh(self, caller: Caller, *, within: timedelta) -> bool:
        """Whether the caller's session was opened by a proof of who they are that is not older than this."""
        fresh = select(Session.id).where(
            Session.id == caller.session_id, _live, Session.authenticated_at > func.now() - within
        )
        with reading() as connection:
            return connection.execute(fresh).one_or_none() is not None

    def sign_out(self, caller: Caller, *, origin: Origin) -> None:
        """End the session that the caller speaks from; doing it twice does no harm."""
        which = Session.id == caller.session_id, Session.user_id == caller.id
        end(*which, reason="signed_out", origin=origin, kind=Kind.SIGNED_OUT, history=self.history)

    def end_all(self, *, user_id: int, reason: str, origin: Origin, but: uuid.UUID | None = None) -> None:
        """End the sessions of a user, each of them noted; `but` one, if it is given."""
        which = [Session.user_id == user_id, *([Session.id != but] if but else [])]
        end(*which, reason=reason, origin=origin, history=self.history)

    def _tokens(
        self, keys: KeySet, *, user_id: int, session_id: uuid.UUID, counter: int, roles: Sequence[str] | None
    ) -> Tokens:
        return Tokens(
            session_id=session_id,
            access_token=self.access.sign(
                keys,
                user_id=user_id,
                session_id=session_id,
                roles=sorted(roles or ()),
                now=clock.now(),
            ),
            refresh_token=self.refreshes.make(session_id=session_id, counter=counter),
            expires_in=self.access.lifetime,
        )
