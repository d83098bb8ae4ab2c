"""Sign-in stages: every way to sign in passes the same checks between the first factor and the opened session."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from auth_service.adapters.crypto.device_tokens import DeviceTokens
from auth_service.services.audit.events import ClientInfo
from auth_service.services.flows.account_revert import AccountRevert
from auth_service.services.sessions.sessions import Sessions, Tokens
from auth_service.services.users.statements import UserRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class SignInContext:
    """Where a sign-in comes from, how its tokens are delivered, and the device token that the browser kept."""

    client: ClientInfo
    transport: str
    """`bearer` or `cookie`."""
    device_token: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifiedSignIn:
    """A user whose first factor was verified; no session is open yet."""

    user: UserRecord
    method: str
    """The first factor: `password` or `code`."""
    context: SignInContext
    known_device: str | None
    """The id of the device, if its owner has signed in on it before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedIn:
    """An opened session, and the token by which its device is known from now on."""

    tokens: Tokens
    transport: str
    device_token: str


class SignInStage(Protocol):
    """A check or a write between the verified first factor and the opened session."""

    def run(self, sign_in: VerifiedSignIn) -> None:
        """Return to go on with the next stage; raise an error to end the sign-in without a session."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class NewDeviceNotification:
    """Tells the owner by email about a session that is opened on a device that is not known."""

    account_revert: AccountRevert

    def run(self, sign_in: VerifiedSignIn) -> None:
        """Write the email, unless the device is known."""
        if sign_in.known_device is None:
            self.account_revert.notify_new_device(sign_in.user, client=sign_in.context.client)


@dataclass(frozen=True, kw_only=True, slots=True)
class SignInStages:
    """The stages in their order, and the one exit that opens a session."""

    devices: DeviceTokens
    stages: Sequence[SignInStage]
    sessions: Sessions

    def known_device(self, user: UserRecord | None, context: SignInContext) -> str | None:
        """Return the id of the device, if the user has signed in on it before."""
        if user is None:
            return None
        return self.devices.known(context.device_token, user_id=user.id, version=user.credential_version)

    def complete(self, sign_in: VerifiedSignIn) -> SignedIn:
        """Run the stages and open a session.

        Raises what a stage raises, and CredentialsRejected if the credentials of the account have changed since they
        were verified.
        """
        for stage in self.stages:
            stage.run(sign_in)
        user, context = sign_in.user, sign_in.context
        tokens = self.sessions.open(user, method=sign_in.method, transport=context.transport, client=context.client)
        return SignedIn(
            tokens=tokens,
            transport=context.transport,
            # Issued anew also for a known device: its lifetime starts again with each sign-in.
            device_token=self.devices.make(
                user_id=user.id, version=user.credential_version, device=sign_in.known_device
            ),
        )
