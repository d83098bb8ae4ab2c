"""Passkeys (WebAuthn): challenges of ceremonies, and the list of passkeys of a user."""

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from auth_service.adapters.crypto.flow_tickets import FlowTicket, FlowTickets, TicketPurpose
from auth_service.adapters.crypto.keys import base64url
from auth_service.adapters.crypto.webauthn import CHALLENGE_BYTES, CredentialDescriptor, RelyingParty
from auth_service.db import fetch_all, fetch_one, transaction
from auth_service.errors import PasskeyUnknown
from auth_service.services.credentials.passkey_statements import (
    HANDLE,
    OF_USER,
    REMOVE,
    RENAME,
    SET_HANDLE,
    PasskeyRecord,
)

METHOD = "passkey"
"""The method of a session that a passkey opened."""
MAX_PASSKEYS = 10
"""Of one user."""
HANDLE_BYTES = 32
USER_VERIFIED = "user"
DEVICE_BOUND, SYNCED = "hwk", "swk"
"""`amr` values of a passkey (RFC 8176); each passkey also verifies the user."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PasskeyChallenge:
    """The options of a ceremony for the browser, and the flow ticket with their challenge."""

    options: dict[str, Any]
    ticket: str | None = field(repr=False)
    """None where a cookie carries it."""
    expires_in: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Signal:
    """What the browser tells the passkey provider with `signalAllAcceptedCredentials`."""

    rp_id: str
    user_handle: str
    credential_ids: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Passkeys:
    """Makes challenges, and reads and changes the passkeys of users."""

    party: RelyingParty
    tickets: FlowTickets

    def of_user(self, user_id: int) -> list[PasskeyRecord]:
        """Return the passkeys of a user, the oldest first."""
        return fetch_all(OF_USER({"user_id": user_id}))

    def request_challenge(self, ticket: FlowTicket, *, allow: Sequence[PasskeyRecord]) -> PasskeyChallenge:
        """Return the options of an authentication, for the flow of `ticket`; any passkey if `allow` is empty."""
        challenge = new_challenge()
        options = self.party.request_options(challenge=challenge, allow=descriptors(allow))
        return self.sealed(options, ticket, challenge)

    def sealed(self, options: dict[str, Any], ticket: FlowTicket, challenge: bytes) -> PasskeyChallenge:
        """Return options with a ticket that has the content of `ticket` and the challenge."""
        sealed = self.tickets.seal(replace(ticket, challenge=challenge))
        return PasskeyChallenge(options=options, ticket=sealed, expires_in=self.tickets.ttl)

    def opened(self, ticket: str | None, *, purpose: TicketPurpose) -> FlowTicket | None:
        """Return the content of a ticket of this purpose; None for any other one, and for an expired one."""
        return None if ticket is None else self.tickets.open(ticket, purpose=purpose)

    def handle_of(self, user_id: int) -> bytes:
        """Return the user handle (`user.id`): random, and set with the first registration of a passkey."""
        handle = fetch_one(HANDLE({"user_id": user_id}))
        if handle is None:
            handle = transaction().fetch_one(SET_HANDLE({"user_id": user_id, "handle": os.urandom(HANDLE_BYTES)}))
        return handle or b""

    def signal(self, user_id: int) -> Signal:
        """Return what `signalAllAcceptedCredentials` takes, in base64url."""
        return Signal(
            rp_id=self.party.id,
            user_handle=base64url(self.handle_of(user_id)),
            credential_ids=[base64url(passkey.credential_id) for passkey in self.of_user(user_id)],
        )

    def rename(self, user_id: int, passkey_id: uuid.UUID, *, name: str) -> PasskeyRecord:
        """Change the name of a passkey. Raises PasskeyUnknown."""
        renamed = transaction().fetch_one(RENAME({"user_id": user_id, "passkey_id": passkey_id, "name": name}))
        if renamed is None:
            raise PasskeyUnknown
        return renamed

    def remove(self, user_id: int, passkey_id: uuid.UUID) -> None:
        """Remove a passkey of a locked user. Raises PasskeyUnknown."""
        if transaction().fetch_one(REMOVE({"user_id": user_id, "passkey_id": passkey_id})) is None:
            raise PasskeyUnknown


def amr_of(*, synced: bool) -> list[str]:
    """Return the `amr` values of a passkey."""
    return [SYNCED if synced else DEVICE_BOUND, USER_VERIFIED]


def new_challenge() -> bytes:
    """Return a new challenge."""
    return os.urandom(CHALLENGE_BYTES)


def descriptors(passkeys: Sequence[PasskeyRecord]) -> list[CredentialDescriptor]:
    """Return passkeys as the options of a ceremony name them."""
    return [CredentialDescriptor(id=each.credential_id, transports=each.transports) for each in passkeys]
