"""Verification of a passkey for sign-in, second step and reauthentication: assertion, counter, detection of copies."""

from dataclasses import dataclass
from typing import NoReturn

from auth_service import clock
from auth_service.adapters.crypto.flow_tickets import FlowTicket
from auth_service.adapters.crypto.webauthn import AuthenticationResponse, CeremonyInvalid
from auth_service.db import fetch_one, transaction
from auth_service.errors import CredentialUnknown, PasskeyRejected
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.credentials.factor_resets import cancel_reset
from auth_service.services.credentials.passkey_statements import BY_CREDENTIAL, EXISTS, USE, PasskeyKey
from auth_service.services.credentials.passkeys import Passkeys, amr_of
from auth_service.services.credentials.totp import CLEAR_FAILURES
from auth_service.services.users.security_notifications import SecurityNotifications
from auth_service.services.users.users import lock_against_change


@dataclass(frozen=True, kw_only=True, slots=True)
class PasskeyVerification:
    """Verifies assertions. Locks: the user, as opening a session does afterwards, then the passkey."""

    passkeys: Passkeys
    audit_log: AuditLog
    security_notifications: SecurityNotifications

    def passkey_of(self, response: AuthenticationResponse) -> PasskeyKey:
        """Return the passkey that an assertion names. Raises CredentialUnknown, PasskeyRejected."""
        try:
            passkey = fetch_one(BY_CREDENTIAL({"credential_id": response.credential_id()}))
        except CeremonyInvalid:
            raise PasskeyRejected from None
        if passkey is None:
            raise CredentialUnknown
        return passkey

    def own_passkey(self, response: AuthenticationResponse, *, user_id: int) -> PasskeyKey:
        """Return the passkey that an assertion names, if it belongs to the user. Raises PasskeyRejected otherwise."""
        try:
            passkey = self.passkey_of(response)
        except CredentialUnknown:
            raise PasskeyRejected from None
        if passkey.user_id != user_id:
            raise PasskeyRejected
        return passkey

    def verify(
        self, passkey: PasskeyKey, response: AuthenticationResponse, *, ticket: FlowTicket | None, client: ClientInfo
    ) -> list[str]:
        """Verify an assertion by a passkey for the challenge of a ticket; return the `amr` values (RFC 8176).

        It ends the throttling of TOTP codes, and cancels a delayed reset. Raises PasskeyRejected: for each failed
        check, for the user handle of another user, for a signature counter that does not grow, and without a ticket.
        """
        if ticket is None or ticket.challenge is None:
            raise PasskeyRejected
        try:
            handle = response.handle()
            assertion = self.passkeys.party.verify_authentication(
                response,
                challenge=ticket.challenge,
                public_key=passkey.public_key,
                backup_eligible=passkey.backup_eligible,
            )
        except CeremonyInvalid:
            raise PasskeyRejected from None
        if handle not in (None, passkey.user_handle):
            raise PasskeyRejected
        lock_against_change(passkey.user_id)
        used = transaction().fetch_one(
            USE({"passkey_id": passkey.id, "sign_count": assertion.sign_count, "backed_up": assertion.backed_up})
        )
        if used is None:
            self._reject_copy(passkey, client=client)
        transaction().write(CLEAR_FAILURES({"user_id": passkey.user_id}))
        cancel_reset(passkey.user_id, client=client)
        return amr_of(synced=passkey.backup_eligible)

    def _reject_copy(self, passkey: PasskeyKey, *, client: ClientInfo) -> NoReturn:
        """Record the copy of a device-bound passkey and notify the user, unless the passkey was removed meanwhile."""
        if fetch_one(EXISTS({"user_id": passkey.user_id, "passkey_id": passkey.id})) is not None:
            self.audit_log.record_failure(
                EventType.PASSKEY_CLONED,
                user_id=passkey.user_id,
                client=client,
                target=("passkey", str(passkey.id)),
            )
            self.security_notifications.send(
                "passkey_cloned",
                user_id=passkey.user_id,
                client=client,
                about=f"{passkey.id} {clock.now():%Y-%m-%d}",
            )
        raise PasskeyRejected
