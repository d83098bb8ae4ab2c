"""Sign-in stages: the checks between the verified first factor and the opened session, the same for all sign-ins."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from auth_service import clock
from auth_service.adapters.crypto.device_tokens import DeviceTokens, DeviceTrust
from auth_service.adapters.crypto.flow_tickets import FlowTicket, FlowTickets, TicketPurpose
from auth_service.errors import AccountBanned, CredentialsRejected, SecondFactorRequired
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.authorization.administrators import Administrators
from auth_service.services.credentials.second_factors import factors_of
from auth_service.services.flows.account_revert import AccountRevert
from auth_service.services.sessions.authentication_levels import AAL2, level_of
from auth_service.services.sessions.sessions import Sessions, Tokens
from auth_service.services.users.bans import current_ban
from auth_service.services.users.statements import UserRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class SignInContext:
    """IP address and device of a sign-in, the transport of its tokens, and the device token of the browser."""

    client: ClientInfo
    transport: str
    """`bearer` or `cookie`."""
    device_token: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifiedSignIn:
    """A user whose first factor, or whose second one too, was verified; no session is open yet."""

    user: UserRecord
    method: str
    """The first factor: `password` or `code`."""
    amr: Sequence[str]
    """The verified authentication methods (RFC 8176)."""
    context: SignInContext
    known_device: str | None
    """The id of the device, if the user has signed in on it before."""
    trusts_device: bool = False
    """Whether the user wants no second step on this device for some time."""
    ticket_digest: bytes | None = None
    """Digest of the flow ticket that the session consumes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedIn:
    """An opened session, and the device token that identifies its device at the next sign-in."""

    tokens: Tokens
    transport: str
    device_token: str


class SignInStage(Protocol):
    """A check or a write between the verified first factor and the opened session."""

    def run(self, sign_in: VerifiedSignIn) -> None:
        """Return to go on with the next stage; raise an error to end the sign-in without a session."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class NotBanned:
    """Rejects a banned user, after the correct password or code and before anything is done for a session."""

    audit_log: AuditLog

    def run(self, sign_in: VerifiedSignIn) -> None:
        """Raise AccountBanned if the user was banned when the record of the user was read."""
        if sign_in.user.is_banned:
            self.check_again(sign_in)

    def check_again(self, sign_in: VerifiedSignIn) -> None:
        """Record the failed attempt and raise AccountBanned if a ban is in force now."""
        ban = current_ban(sign_in.user.id)
        if ban is None:
            return
        self.audit_log.record_anonymous_failure(
            EventType.SIGN_IN_REFUSED,
            user_id=sign_in.user.id,
            client=sign_in.context.client,
            method=sign_in.method,
            refusal=AccountBanned.code,
        )
        raise AccountBanned(until=ban.until_text, reason=ban.reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class SecondFactorVerified:
    """Requires a second step, if the account has a second factor that protects its sign-in."""

    tickets: FlowTickets
    devices: DeviceTokens
    roles: frozenset[str]
    """`SECOND_FACTOR_ROLES`: a trusted device does not replace the second step of their users."""
    trusts_devices: bool
    """Whether a trusted device replaces the second step of other users."""

    def run(self, sign_in: VerifiedSignIn) -> None:
        """Raise SecondFactorRequired with a ticket, unless two factors are verified or the device is trusted.

        A passkey protects the sign-in by password only if a role requires a second factor: a user without such a role
        may have added it for convenience. With such a role and no factor the session will be restricted.
        """
        user = sign_in.user
        if not user.has_factor or level_of(sign_in.amr) == AAL2:
            return
        factors = factors_of(user.id)
        if factors is None:  # deleted meanwhile: no session is opened
            return
        needs_factor = factors.has_role_of(self.roles)
        if factors.totp_since is None and not needs_factor:
            return
        may_trust = self.trusts_devices and not needs_factor
        if may_trust and trust_in_device(self.devices, user, sign_in.context) is not None:
            return
        ticket = FlowTicket(
            purpose=TicketPurpose.SECOND_STEP,
            transport=sign_in.context.transport,
            user_id=user.id,
            credential_version=user.credential_version,
            amr=sign_in.amr,
        )
        raise SecondFactorRequired(
            ticket=self.tickets.seal(ticket),
            methods=factors.methods(),
            expires_in=int(self.tickets.ttl.total_seconds()),
        )


def trust_in_device(devices: DeviceTokens, user: UserRecord, context: SignInContext) -> DeviceTrust | None:
    """Return the trust of the user in the device of a sign-in, or None."""
    return devices.trust(
        context.device_token, user_id=user.id, version=user.credential_version, factor_version=user.factor_version
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstAdministrator:
    """Makes the user of `FIRST_ADMINISTRATOR` administrator: an emailed code proves control of the address."""

    administrators: Administrators

    def run(self, sign_in: VerifiedSignIn) -> None:
        """Promote the user after a sign-in by code, while there is no administrator."""
        if sign_in.method == "code":
            user = sign_in.user
            self.administrators.promote_first(user_id=user.id, address=user.address, client=sign_in.context.client)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewDeviceNotification:
    """Sends a security notification about a sign-in on an unknown device."""

    account_revert: AccountRevert

    def run(self, sign_in: VerifiedSignIn) -> None:
        """Send the notification, unless the device is known."""
        if sign_in.known_device is None:
            self.account_revert.notify_new_device(sign_in.user, client=sign_in.context.client)


@dataclass(frozen=True, kw_only=True, slots=True)
class SignInStages:
    """Runs the stages in order, then opens the session. Every sign-in ends here."""

    devices: DeviceTokens
    not_banned: NotBanned
    """The first stage; runs once more if a concurrent request prevents the session."""
    stages: Sequence[SignInStage]
    sessions: Sessions
    device_trust: timedelta
    """How long a trusted device needs no second step; zero switches trusted devices off."""

    def known_device(self, user: UserRecord | None, context: SignInContext) -> str | None:
        """Return the id of the device, if the user has signed in on it before."""
        if user is None:
            return None
        return self.devices.known(context.device_token, user_id=user.id, version=user.credential_version)

    def complete(self, sign_in: VerifiedSignIn) -> SignedIn:
        """Run the stages and open a session.

        Raises AccountBanned, SecondFactorRequired, the errors of the other stages, and CredentialsRejected if the
        credentials or the second factors of the account have changed since they were verified, or if another session
        has consumed the ticket.
        """
        for stage in (self.not_banned, *self.stages):
            stage.run(sign_in)
        user, context = sign_in.user, sign_in.context
        try:
            tokens = self.sessions.open(
                user,
                method=sign_in.method,
                amr=sign_in.amr,
                transport=context.transport,
                client=context.client,
                ticket_digest=sign_in.ticket_digest,
            )
        except CredentialsRejected:
            self.not_banned.check_again(sign_in)
            raise
        return SignedIn(
            tokens=tokens,
            transport=context.transport,
            # A known device gets a new token too: its time to live starts again with each sign-in.
            device_token=self.devices.make(
                user_id=user.id,
                version=user.credential_version,
                device=sign_in.known_device,
                trust=self._trust(sign_in),
            ),
        )

    def _trust(self, sign_in: VerifiedSignIn) -> DeviceTrust | None:
        """Return the trust for the device: a new one, or what is left of the former one."""
        if sign_in.trusts_device and self.device_trust:
            return DeviceTrust(until=clock.now() + self.device_trust, factor_version=sign_in.user.factor_version)
        return trust_in_device(self.devices, sign_in.user, sign_in.context)
