"""Sessions: opened by proof, kept alive by refreshing, ended by their owner or by a token that comes twice."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Self

from auth_service import clock
from auth_service.adapters.crypto.access_tokens import AccessTokens, Claims, KeySet, TokenRejected, kid_of
from auth_service.adapters.crypto.refresh_tokens import RefreshClaim, RefreshTokens
from auth_service.db import fetch_one, transaction
from auth_service.errors import CredentialsRejected, RefreshRejected, TokenInvalid
from auth_service.models.audit_event import FAILURE, EventType
from auth_service.services.audit.events import ClientInfo
from auth_service.services.sessions.revocation import revoke_sessions
from auth_service.services.sessions.statements import CALLER, IS_RECENT, OPEN, REFRESH, SERVED_BEFORE, Owner
from auth_service.services.tokens.signing_keys import SigningKeys
from auth_service.services.users.security_notifications import SecurityNotifications
from auth_service.services.users.statements import UserRecord
from auth_service.services.users.users import lock_shared


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
class CurrentUser:
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

    signing_keys: SigningKeys
    access: AccessTokens
    refreshes: RefreshTokens
    security_notifications: SecurityNotifications
    idle: timedelta
    absolute: timedelta
    grace: timedelta
    """How long a token that was used already gives the same successor, as long as that one is unused."""

    def open(self, user: UserRecord, *, method: str, transport: str, client: ClientInfo) -> Tokens:
        """Open a session for a user who has just been authenticated, under a new id.

        Raises CredentialsRejected if the credentials of the account have changed since they were verified.
        """
        session_id = uuid.uuid4()
        # The keys first: they may have to be read with a connection of their own.
        keys = self.signing_keys.for_signing()
        opened = transaction().fetch_one(
            OPEN(
                {
                    "id": session_id,
                    "owner": user.id,
                    "version": user.credential_version,
                    "method": method,
                    "transport": transport,
                    "seen_address": client.address,
                    "seen_device": client.device,
                    "idle": self.idle,
                    "absolute": self.absolute,
                }
            )
        )
        if opened is None:
            raise CredentialsRejected
        return self._tokens(keys, user_id=user.id, session_id=session_id, counter=0, roles=opened.roles)

    def refresh(self, *, token: str, client: ClientInfo) -> Tokens:
        """Refresh token rotation: replace a refresh token by its successor, with a new access token.

        One conditional UPDATE decides which of concurrent requests rotates the token. The others get the same
        successor within the grace period. Any other reuse means that the token was stolen: the session ends and its
        owner is told (RFC 9700, 4.14.2). Raises RefreshRejected.
        """
        claim = self.refreshes.read(token)
        if claim is None:
            raise RefreshRejected
        keys = self.signing_keys.for_signing()
        owner = transaction().fetch_one(
            REFRESH(
                {
                    "session": claim.session_id,
                    "used": claim.counter,
                    "idle": self.idle,
                    "seen_address": client.address,
                    "seen_device": client.device,
                }
            )
        ) or self._owner_of_used(claim, client)
        return self._tokens(
            keys, user_id=owner.id, session_id=claim.session_id, counter=claim.counter + 1, roles=owner.roles
        )

    def _owner_of_used(self, claim: RefreshClaim, client: ClientInfo) -> Owner:
        """Return the owner if this token was rotated within the grace period; otherwise raise RefreshRejected."""
        found = fetch_one(SERVED_BEFORE({"session": claim.session_id, "grace": self.grace}))
        if found is None or claim.counter >= found.counter:
            raise RefreshRejected
        if claim.counter == found.counter - 1 and found.is_recent:
            return Owner(found.owner, found.roles)
        self._end_stolen(claim.session_id, owner=found.owner, client=client)
        raise RefreshRejected

    def _end_stolen(self, session_id: uuid.UUID, *, owner: int, client: ClientInfo) -> None:
        # The user's row first, as a deletion locks it before the sessions: the email refers to the user. Of concurrent
        # requests with a reused token one ends the session.
        if lock_shared(owner) and revoke_sessions(
            owner,
            only=session_id,
            reason="refresh_reused",
            client=client,
            kind=EventType.REFRESH_REUSED,
            outcome=FAILURE,
        ):
            self.security_notifications.tell("refresh_reused", user_id=owner, client=client, about=f"{session_id}")

    def caller(self, token: str) -> CurrentUser:
        """Whom an access token speaks for, if its session lives. Raises TokenInvalid.

        The token's own claims are checked first, then one SELECT finds the session and its user: whatever was ended
        or changed a moment ago counts already.
        """
        try:
            claims = self.access.verify(token, self.signing_keys.for_kid(kid_of(token)))
        except TokenRejected:
            raise TokenInvalid from None
        row = fetch_one(CALLER({"session": claims.session_id, "owner": claims.user_id}))
        if row is None:
            raise TokenInvalid
        return CurrentUser(
            id=row.id,
            email=row.email,
            verified_mail=row.verified_mail,
            roles=sorted(row.roles or ()),
            session_id=claims.session_id,
            authenticated_at=row.authenticated_at,
            transport=row.transport,
            claims=claims,
        )

    def is_recent(self, caller: CurrentUser, *, within: timedelta) -> bool:
        """Whether the caller's session was opened by a proof of who they are that is not older than this."""
        return fetch_one(IS_RECENT({"session": caller.session_id, "within": within})) is not None

    def sign_out(self, caller: CurrentUser, *, client: ClientInfo) -> None:
        """End the session of the access token; idempotent."""
        revoke_sessions(
            caller.id, only=caller.session_id, reason="signed_out", client=client, kind=EventType.SIGNED_OUT
        )

    def revoke_all(self, *, user_id: int, reason: str, client: ClientInfo, but: uuid.UUID | None = None) -> None:
        """End the sessions of a user, `but` one if it is given."""
        revoke_sessions(user_id, all_but=but, reason=reason, client=client)

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
