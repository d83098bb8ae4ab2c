"""Introspection: what other services are told about a token that somebody showed them (RFC 7662)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, func, select

from auth_service.db import autocommit
from auth_service.errors import TokenInvalid
from auth_service.models import Session, User, UserRole
from auth_service.services.sessions.sessions import Sessions

REFRESH_TOKEN = "refresh_token"  # noqa: S105 - the word of RFC 7009

_REFRESHABLE = (
    select(
        User.id,
        func.least(Session.idle_at, Session.expires_at).label("expires_at"),
        select(func.array_agg(UserRole.role)).where(UserRole.user_id == User.id).scalar_subquery().label("roles"),
    )
    .join(Session, Session.user_id == User.id)
    .where(Session.id == bindparam("session"), Session.counter == bindparam("counter"), Session.is_live())
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenState:
    """What is true of a token now; everything but `active` is said of active ones only."""

    active: bool
    token_type: str | None = None
    """`Bearer` for what may be shown to a service, `refresh_token` for what may not."""
    iss: str | None = None
    aud: str | None = None
    client_id: str | None = None
    sub: str | None = None
    sid: str | None = None
    jti: str | None = None
    iat: int | None = None
    nbf: int | None = None
    exp: int | None = None
    roles: Sequence[str] | None = None
    """Those that the user has now, which may not be those in the token."""


INACTIVE = TokenState(active=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Introspection:
    """Tells services whether a token is good, as the next request here would find it."""

    sessions: Sessions

    def of(self, token: str, *, hint: str | None) -> TokenState:
        """What is true of a token. Everything that is not good is INACTIVE, whatever is wrong with it.

        A refresh token is looked at only where the hint says that it is one. RFC 7662 would have us try; but a service
        that asks about what it was shown, and only reads `active`, would let somebody in by a token that was stolen,
        and that nobody notices as long as it is not exchanged.
        """
        state = self._access(token)
        return self._refresh(token) if state is INACTIVE and hint == REFRESH_TOKEN else state

    def _access(self, token: str) -> TokenState:
        try:
            caller = self.sessions.caller(token)
        except TokenInvalid:
            return INACTIVE
        claims = caller.claims
        return TokenState(
            active=True,
            token_type="Bearer",  # noqa: S106 - the word of RFC 6750
            iss=self.sessions.access.issuer,
            aud=self.sessions.access.audience,
            client_id=self.sessions.access.audience,
            sub=str(caller.id),
            sid=str(caller.session_id),
            jti=claims.token_id,
            iat=claims.issued_at,
            nbf=claims.issued_at,
            exp=claims.expires_at,
            roles=caller.roles,
        )

    def _refresh(self, token: str) -> TokenState:
        claim = self.sessions.refreshes.read(token)
        if claim is None:
            return INACTIVE
        with autocommit() as connection:
            found = {"session": claim.session_id, "counter": claim.counter}
            row = connection.execute(_REFRESHABLE, found).one_or_none()
        if row is None:
            return INACTIVE
        expires_at: datetime = row.expires_at
        return TokenState(
            active=True,
            token_type=REFRESH_TOKEN,
            iss=self.sessions.access.issuer,
            sub=str(row.id),
            sid=str(claim.session_id),
            exp=int(expires_at.timestamp()),
            roles=sorted(row.roles or ()),
        )
