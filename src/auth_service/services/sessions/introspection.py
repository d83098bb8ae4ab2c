"""Token introspection (RFC 7662): other services ask whether a token is active."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, func, select

from auth_service.db import autocommit
from auth_service.errors import TokenExpired, TokenInvalid
from auth_service.models import Session, User, UserRole
from auth_service.services.sessions.sessions import Sessions

REFRESH_TOKEN = "refresh_token"  # noqa: S105 - the token type hint of RFC 7009

_REFRESHABLE = (
    select(
        User.id,
        func.least(Session.idle_at, Session.expires_at).label("expires_at"),
        select(func.array_agg(UserRole.role)).where(UserRole.user_id == User.id).scalar_subquery().label("roles"),
    )
    .join(Session, Session.user_id == User.id)
    .where(
        Session.id == bindparam("session"),
        Session.counter == bindparam("counter"),
        Session.is_live(),
        ~User.is_banned(),
    )
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenState:
    """Introspection result; all fields except `active` are None for an inactive token (RFC 7662, 2.2)."""

    active: bool
    token_type: str | None = None
    """`Bearer` for an access token; `refresh_token` for a refresh token, which no service may accept."""
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
    """The current roles of the user; they can differ from the roles in the token."""
    permissions: Sequence[str] | None = None
    auth_time: int | None = None
    acr: str | None = None
    amr: Sequence[str] | None = None


INACTIVE = TokenState(active=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Introspection:
    """Answers whether a token is active, by the checks that a request to this service would apply."""

    sessions: Sessions

    def of(self, token: str, *, hint: str | None) -> TokenState:
        """Return the state of a token; INACTIVE for every invalid token, whatever the reason.

        A refresh token is checked only with the hint `refresh_token`, unlike RFC 7662, 2.1, which extends the search to
        all token types. A service that reads only `active` would accept a stolen refresh token as an access token, and
        reuse detection would not notice, because the token is never rotated.
        """
        state = self._access(token)
        return self._refresh(token) if state is INACTIVE and hint == REFRESH_TOKEN else state

    def _access(self, token: str) -> TokenState:
        try:
            current_user = self.sessions.current_user(token)
        except (TokenExpired, TokenInvalid):
            return INACTIVE
        claims = current_user.claims
        return TokenState(
            active=True,
            token_type="Bearer",  # noqa: S106 - the token type of RFC 6750
            iss=self.sessions.access_tokens.issuer,
            aud=self.sessions.access_tokens.audience,
            client_id=self.sessions.access_tokens.audience,
            sub=str(current_user.id),
            sid=str(current_user.session_id),
            jti=claims.token_id,
            iat=claims.issued_at,
            nbf=claims.issued_at,
            exp=claims.expires_at,
            roles=current_user.roles,
            permissions=current_user.permissions,
            auth_time=current_user.auth_time,
            acr=current_user.acr,
            amr=current_user.amr,
        )

    def _refresh(self, token: str) -> TokenState:
        claim = self.sessions.refresh_tokens.read(token)
        if claim is None:
            return INACTIVE
        with autocommit() as connection:
            parameters = {"session": claim.session_id, "counter": claim.counter}
            row = connection.execute(_REFRESHABLE, parameters).one_or_none()
        if row is None:
            return INACTIVE
        expires_at: datetime = row.expires_at
        return TokenState(
            active=True,
            token_type=REFRESH_TOKEN,
            iss=self.sessions.access_tokens.issuer,
            sub=str(row.id),
            sid=str(claim.session_id),
            exp=int(expires_at.timestamp()),
            roles=sorted(row.roles or ()),
        )
