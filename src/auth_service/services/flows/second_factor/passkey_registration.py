"""Registration and removal of passkeys by their user; in a restricted session the first one lifts the restriction."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from auth_service.adapters.crypto.flow_tickets import FlowTicket, TicketPurpose, ticket_digest
from auth_service.adapters.crypto.passkey_providers import provider_of
from auth_service.adapters.crypto.webauthn import CeremonyInvalid, NewCredential, RegistrationResponse
from auth_service.db import fetch_one, transaction
from auth_service.errors import LimitReached, PasskeyTaken, PasskeyUnfit, SecondFactorNeeded, TokenInvalid
from auth_service.errors.passkeys import PasskeyCheck
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.credentials.passkey_statements import ADD, IS_TAKEN, PasskeyRecord
from auth_service.services.credentials.passkeys import (
    MAX_PASSKEYS,
    METHOD,
    PasskeyChallenge,
    Passkeys,
    Signal,
    amr_of,
    descriptors,
    new_challenge,
)
from auth_service.services.credentials.recovery_codes import DELETE_CODES, replace_codes
from auth_service.services.credentials.second_factors import factors_of
from auth_service.services.flows.second_factor.session_replacement import replace_session
from auth_service.services.sessions.sessions import CurrentUser, Sessions, Tokens
from auth_service.services.users.security_notifications import SecurityNotifications
from auth_service.services.users.users import Users, next_factor_version


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisteredPasskey:
    """A new passkey; with the tokens of a new session and with recovery codes if the session was restricted."""

    passkey: PasskeyRecord
    signal: Signal
    tokens: Tokens | None = None
    recovery_codes: Sequence[str] | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class PasskeyRegistration:
    """Adds and removes passkeys of the current user. Locks: the user, then passkeys and sessions."""

    users: Users
    passkeys: Passkeys
    sessions: Sessions
    audit_log: AuditLog
    security_notifications: SecurityNotifications
    second_factor_roles: frozenset[str]

    def options(self, current_user: CurrentUser) -> PasskeyChallenge:
        """Return the options of a new passkey, for this session. Raises LimitReached."""
        existing = self.passkeys.of_user(current_user.id)
        if len(existing) >= MAX_PASSKEYS:
            raise LimitReached(limit=MAX_PASSKEYS)
        challenge = new_challenge()
        options = self.passkeys.party.creation_options(
            challenge=challenge,
            user_handle=self.passkeys.handle_of(current_user.id),
            user_name=current_user.email,
            exclude=descriptors(existing),
        )
        ticket = FlowTicket(
            purpose=TicketPurpose.PASSKEY_REGISTRATION,
            transport=current_user.transport,
            user_id=current_user.id,
            session_id=current_user.session_id,
        )
        return self.passkeys.sealed(options, ticket, challenge)

    def register(
        self,
        current_user: CurrentUser,
        response: RegistrationResponse,
        *,
        ticket: str | None,
        transports: Sequence[str],
        name: str | None,
        client: ClientInfo,
    ) -> RegisteredPasskey:
        """Add a passkey to the account of the current user.

        Raises PasskeyUnfit, also for a ticket of another session and a consumed one; PasskeyTaken, LimitReached,
        AccountChanged, TokenInvalid.
        """
        credential = self._verified(current_user, response, ticket=ticket)
        self.sessions.prepare()
        self._lock(current_user)
        if len(self.passkeys.of_user(current_user.id)) >= MAX_PASSKEYS:
            raise LimitReached(limit=MAX_PASSKEYS)
        passkey = transaction().fetch_one(
            ADD(
                {
                    "id": uuid.uuid4(),
                    "user_id": current_user.id,
                    "credential_id": credential.id,
                    "public_key": credential.public_key,
                    "sign_count": credential.sign_count,
                    "backup_eligible": credential.backup_eligible,
                    "backed_up": credential.backed_up,
                    "transports": list(transports),
                    "aaguid": credential.aaguid,
                    "name": name or provider_of(credential.aaguid) or client.device,
                    "session_id": current_user.session_id,
                    "ticket_digest": ticket_digest(ticket or ""),
                }
            )
        )
        if passkey is None:
            # Another passkey has consumed the ticket, unless the credential id is taken.
            is_taken = fetch_one(IS_TAKEN({"credential_id": credential.id})) is not None
            raise PasskeyTaken if is_taken else PasskeyUnfit(reason=PasskeyCheck.CHALLENGE)
        self._changed(EventType.PASSKEY_ADDED, current_user, passkey.id, client=client)
        signal = self.passkeys.signal(current_user.id)
        if not current_user.is_restricted:
            return RegisteredPasskey(passkey=passkey, signal=signal)
        return self._lift_restriction(current_user, passkey, signal, client=client)

    def rename(
        self, current_user: CurrentUser, passkey_id: uuid.UUID, *, name: str, client: ClientInfo
    ) -> PasskeyRecord:
        """Change the name of a passkey of the current user. Raises PasskeyUnknown."""
        renamed = self.passkeys.rename(current_user.id, passkey_id, name=name)
        self._record(EventType.PASSKEY_RENAMED, current_user, passkey_id, client=client)
        return renamed

    def remove(self, current_user: CurrentUser, passkey_id: uuid.UUID, *, client: ClientInfo) -> Signal:
        """Remove a passkey of the current user; with the last second factor the recovery codes end, too.

        Raises PasskeyUnknown, and SecondFactorNeeded if a role requires a second factor and this is the last one.
        """
        self._lock(current_user)
        self.passkeys.remove(current_user.id, passkey_id)
        factors = factors_of(current_user.id)
        if factors is None:
            raise TokenInvalid
        if not factors.passkeys and factors.totp_since is None:
            if factors.has_role_of(self.second_factor_roles):
                raise SecondFactorNeeded
            transaction().write(DELETE_CODES({"user_id": current_user.id}))
        self._changed(EventType.PASSKEY_REMOVED, current_user, passkey_id, client=client)
        return self.passkeys.signal(current_user.id)

    def _verified(
        self, current_user: CurrentUser, response: RegistrationResponse, *, ticket: str | None
    ) -> NewCredential:
        """Return the verified passkey for the challenge of the ticket. Raises PasskeyUnfit."""
        opened = self.passkeys.opened(ticket, purpose=TicketPurpose.PASSKEY_REGISTRATION)
        if opened is None or opened.challenge is None or opened.session_id != current_user.session_id:
            raise PasskeyUnfit(reason=PasskeyCheck.CHALLENGE)
        try:
            return self.passkeys.party.verify_registration(response, challenge=opened.challenge)
        except CeremonyInvalid as error:
            raise PasskeyUnfit(reason=error.check) from None

    def _lock(self, current_user: CurrentUser) -> None:
        """Lock the user: of concurrent requests each sees the passkeys that the others have added or removed."""
        if self.users.lock_for_update(current_user.id) is None:
            raise TokenInvalid

    def _lift_restriction(
        self, current_user: CurrentUser, passkey: PasskeyRecord, signal: Signal, *, client: ClientInfo
    ) -> RegisteredPasskey:
        """Replace the restricted session: the user was authenticated, and the new passkey has verified the user."""
        user = self.users.signed_in_user(current_user.id)
        tokens = replace_session(
            self.sessions,
            current_user,
            user,
            method=METHOD,
            amr=amr_of(synced=passkey.synced),
            client=client,
        )
        codes = replace_codes(current_user.id)
        return RegisteredPasskey(passkey=passkey, signal=signal, tokens=tokens, recovery_codes=codes)

    def _changed(
        self, event: EventType, current_user: CurrentUser, passkey_id: uuid.UUID, *, client: ClientInfo
    ) -> None:
        """Record the event, end trusted devices, and notify the user."""
        next_factor_version(current_user.id)
        self._record(event, current_user, passkey_id, client=client)
        self.security_notifications.send(event.value, user_id=current_user.id, client=client)

    def _record(
        self, event: EventType, current_user: CurrentUser, passkey_id: uuid.UUID, *, client: ClientInfo
    ) -> None:
        self.audit_log.record(
            event,
            user_id=current_user.id,
            client=client,
            session_id=current_user.session_id,
            target=("passkey", str(passkey_id)),
        )
