"""Token revocation (RFC 7009): the possession of a token is sufficient to end its session."""

from dataclasses import dataclass

from auth_service.errors import RefreshRejected, TokenExpired, TokenInvalid
from auth_service.services.audit.events import ClientInfo
from auth_service.services.sessions.sessions import SessionHolder, Sessions


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenRevocation:
    """Revokes the session of a refresh token or of an access token."""

    sessions: Sessions

    def revoke(self, token: str, *, client: ClientInfo) -> None:
        """Revoke the session of a token; do nothing for any other text (RFC 7009, 2.2).

        Both kinds are recognised by their form and MAC or signature, so no type hint is needed. Reuse detection applies
        to refresh tokens, as on a sign-out. No constant work for unknown tokens: a client that has a valid one can find
        that out by using it, and no token can be guessed.
        """
        holder = self._holder(token, client)
        if holder is not None:
            self.sessions.sign_out(holder, client=client)

    def _holder(self, token: str, client: ClientInfo) -> SessionHolder | None:
        try:
            if self.sessions.refresh_tokens.read(token) is not None:
                return self.sessions.holder(token, client=client)
            return self.sessions.current_user(token).holder
        except (RefreshRejected, TokenExpired, TokenInvalid):
            return None
