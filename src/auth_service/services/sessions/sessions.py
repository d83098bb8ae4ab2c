"""Sessions: open, refresh token rotation with reuse detection, access token verification, sign-out."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple, Self

from auth_service import clock
from auth_service.adapters.crypto.access_tokens import (
    AccessTokens,
    Claims,
    KeySet,
    TokenOutdated,
    TokenRejected,
    kid_of,
)
from auth_service.adapters.crypto.refresh_tokens import RefreshClaim, RefreshTokens
from auth_service.db import fetch_one, transaction
from auth_service.errors import CredentialsRejected, RefreshRejected, TokenExpired, TokenInvalid
from auth_service.models.audit_event import FAILURE, EventType
from auth_service.services.audit.events import ClientInfo
from auth_service.services.sessions.authentication_levels import AAL1, AAL2, level_of, method_references
from auth_service.services.sessions.revocation import revoke_sessions
from auth_service.services.sessions.statements import (
    CURRENT_USER,
    OPEN,
    REFRESH,
    ROTATION_STATE,
    Owner,
    RotationState,
)
from auth_service.services.tokens.signing_keys import SigningKeys
from auth_service.services.users.security_notifications import SecurityNotifications
from auth_service.services.users.statements import UserRecord
from auth_service.services.users.users import lock_shared


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """Access token and refresh token of a session; None where cookies carry them."""

    session_id: uuid.UUID
    access_token: str | None = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: timedelta

    def hidden(self) -> Self:
        """Return a copy without the tokens, for a response that carries them in cookies."""
        return replace(self, access_token=None, refresh_token=None)


class SessionHolder(NamedTuple):
    """A session and its user, as a valid token names them."""

    user_id: int
    session_id: uuid.UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class CurrentUser:
    """The user of a valid access token whose session is active."""

    id: int
    email: str
    verified_mail: bool
    password_set: bool
    roles: Sequence[str]
    permissions: Sequence[str]
    """The permissions of the roles, read with the session: a change takes effect with the next request."""
    session_id: uuid.UUID
    authenticated_at: datetime
    authenticated_ago: timedelta
    """Time since the authentication, by the clock of the database."""
    acr: str
    required_level: str
    """The level that the account requires: `aal2` with TOTP, or with a role of `SECOND_FACTOR_ROLES`."""
    is_restricted: bool
    """Whether a role requires a second factor that this session was opened without; computed, never stored."""
    totp: bool
    passkeys: bool
    """Whether the user has TOTP, and whether the user has a passkey."""
    amr: Sequence[str]
    transport: str
    session_expires_at: datetime
    claims: Claims

    @property
    def auth_time(self) -> int:
        """When the user authenticated, in seconds since 1970, as in the access token."""
        return int(self.authenticated_at.timestamp())

    @property
    def has_factor(self) -> bool:
        """Whether the user has a second factor."""
        return self.totp or self.passkeys

    def authenticated_within(self, max_age: timedelta) -> bool:
        """Whether the user authenticated in this session at most `max_age` ago (RFC 9470).

        A token of the release before the claim `auth_time` never counts as recent.
        """
        return self.claims.auth_time is not None and self.authenticated_ago <= max_age

    @property
    def holder(self) -> SessionHolder:
        """The session and its user."""
        return SessionHolder(self.id, self.session_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sessions:
    """Sessions and their tokens. Their state is in PostgreSQL only: a flush of Redis restores no revoked session."""

    signing_keys: SigningKeys
    access_tokens: AccessTokens
    refresh_tokens: RefreshTokens
    security_notifications: SecurityNotifications
    idle: timedelta
    """How long a session lasts without a refresh."""
    absolute: timedelta
    """How long a session lasts at most."""
    second_factor_roles: frozenset[str]
    """Roles whose users have to sign in with a second factor."""
    grace: timedelta
    """How long a rotated refresh token returns the same successor again, as long as the successor is unused."""

    def prepare(self) -> None:
        """Read the signing keys, before a flow locks the rows that it verifies and then opens a session.

        Reading them may take a second connection: a flow that waits for one while it holds locks blocks the others.
        """
        self.signing_keys.for_signing()

    def open(
        self,
        user: UserRecord,
        *,
        method: str,
        amr: Sequence[str],
        transport: str,
        client: ClientInfo,
        kind: EventType = EventType.SIGNED_IN,
        until: datetime | None = None,
        ticket_digest: bytes | None = None,
    ) -> Tokens:
        """Open a session for a user who has just been authenticated, under a new id, and record the event `kind`.

        `amr` has the verified authentication methods, from which the level follows. `until` is the end of the session;
        `absolute` from now without it. `ticket_digest` is that of the flow ticket that the session consumes. Raises
        CredentialsRejected if the credentials or the second factors of the account have changed since they were
        verified, if the user is banned, or if another session has consumed the ticket.
        """
        session_id = uuid.uuid4()
        # Before the transaction starts: reading the signing keys may take a second connection.
        keys = self.signing_keys.for_signing()
        opened = transaction().fetch_one(
            OPEN(
                {
                    "id": session_id,
                    "owner": user.id,
                    "version": user.credential_version,
                    "factor_version": user.factor_version,
                    "method": method,
                    "acr": level_of(amr),
                    "amr": list(amr),
                    "transport": transport,
                    "ticket_digest": ticket_digest,
                    **client.as_parameters(),
                    "idle": self.idle,
                    "absolute": self.absolute,
                    "until": until,
                    "kind": kind.value,
                }
            )
        )
        if opened is None:
            raise CredentialsRejected
        return self._tokens(keys, Owner(user.id, *opened), session_id=session_id, counter=0)

    def refresh(self, *, token: str, client: ClientInfo) -> Tokens:
        """Refresh token rotation: replace a refresh token by its successor, with a new access token.

        One conditional UPDATE decides which of concurrent requests rotates the token. The others get the same
        successor within the grace period. Any other reuse means that the token was stolen: the session is revoked and
        its user gets a security notification (RFC 9700, 4.14.2). Raises RefreshRejected.
        """
        claim = self.refresh_tokens.read(token)
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
        ) or self._detect_reuse(claim, client)
        return self._tokens(keys, owner, session_id=claim.session_id, counter=claim.counter + 1)

    def _detect_reuse(self, claim: RefreshClaim, client: ClientInfo) -> Owner:
        """Return the owner if the token was rotated within the grace period; otherwise revoke the session.

        Raises RefreshRejected.
        """
        session = self._unused_or_recent(claim, client)
        if claim.counter >= session.counter:
            raise RefreshRejected
        return Owner(session.owner, session.roles, session.authenticated_at, session.acr)

    def holder(self, token: str, *, client: ClientInfo) -> SessionHolder:
        """Return the session of a refresh token and its user, without rotating the token.

        Only for requests that revoke sessions: the refresh token outlives the access token, so a client can always sign
        out. Reuse detection applies here too. Raises RefreshRejected.
        """
        claim = self.refresh_tokens.read(token)
        if claim is None:
            raise RefreshRejected
        return SessionHolder(self._unused_or_recent(claim, client).owner, claim.session_id)

    def _unused_or_recent(self, claim: RefreshClaim, client: ClientInfo) -> RotationState:
        """Return the active session of a token that is unused or was rotated within the grace period.

        Any other token was used before; its session is revoked. Raises RefreshRejected.
        """
        session = fetch_one(ROTATION_STATE({"session": claim.session_id, "grace": self.grace}))
        if session is None:
            raise RefreshRejected
        if claim.counter >= session.counter or (claim.counter == session.counter - 1 and session.is_recent):
            return session
        self._revoke_stolen(claim.session_id, owner=session.owner, client=client)
        raise RefreshRejected

    def _revoke_stolen(self, session_id: uuid.UUID, *, owner: int, client: ClientInfo) -> None:
        # Lock order of all flows: the user, then the session, so that a concurrent deletion cannot deadlock. The email
        # refers to the user. Of concurrent requests with a reused token one revokes the session and sends the email.
        if lock_shared(owner) and revoke_sessions(
            owner,
            only=session_id,
            reason="refresh_reused",
            client=client,
            kind=EventType.REFRESH_REUSED,
            outcome=FAILURE,
        ):
            self.security_notifications.send("refresh_reused", user_id=owner, client=client, about=f"{session_id}")

    def current_user(self, token: str) -> CurrentUser:
        """Verify an access token and return its user. Raises TokenExpired, and TokenInvalid also for an ended session.

        The signature and claims are verified first; then one SELECT reads the session and the user, so that a
        revocation takes effect with the next request.
        """
        try:
            claims = self.access_tokens.verify(token, self.signing_keys.for_kid(kid_of(token)))
        except TokenOutdated:
            raise TokenExpired from None
        except TokenRejected:
            raise TokenInvalid from None
        row = fetch_one(CURRENT_USER({"session": claims.session_id, "owner": claims.user_id}))
        if row is None:
            raise TokenInvalid
        role_requires_factor = not self.second_factor_roles.isdisjoint(row.roles or ())
        return CurrentUser(
            id=row.id,
            email=row.email,
            verified_mail=row.verified_mail,
            password_set=row.password_set,
            roles=sorted(row.roles or ()),
            permissions=sorted(row.permissions or ()),
            session_id=claims.session_id,
            authenticated_at=row.authenticated_at,
            authenticated_ago=row.authenticated_ago,
            acr=row.acr,
            required_level=AAL2 if row.totp or role_requires_factor else AAL1,
            is_restricted=role_requires_factor and row.acr == AAL1,
            totp=row.totp,
            passkeys=row.passkeys,
            amr=row.amr or method_references(row.method),
            transport=row.transport,
            session_expires_at=row.expires_at,
            claims=claims,
        )

    def sign_out(self, holder: SessionHolder, *, client: ClientInfo) -> None:
        """Revoke one session; idempotent."""
        revoke_sessions(
            holder.user_id, only=holder.session_id, reason="signed_out", client=client, kind=EventType.SIGNED_OUT
        )

    def revoke_all(self, *, user_id: int, reason: str, client: ClientInfo, all_but: uuid.UUID | None = None) -> None:
        """Revoke all sessions of a user, except the session `all_but`."""
        revoke_sessions(user_id, all_but=all_but, reason=reason, client=client)

    def _tokens(self, keys: KeySet, owner: Owner, *, session_id: uuid.UUID, counter: int) -> Tokens:
        return Tokens(
            session_id=session_id,
            access_token=self.access_tokens.sign(
                keys,
                user_id=owner.id,
                session_id=session_id,
                roles=sorted(owner.roles or ()),
                auth_time=owner.authenticated_at,
                acr=owner.acr,
                now=clock.now(),
            ),
            refresh_token=self.refresh_tokens.make(session_id=session_id, counter=counter),
            expires_in=self.access_tokens.lifetime,
        )
