"""Acceptance of invitations: the link of an email creates or confirms a user with the roles of the invitation."""

from collections.abc import Sequence
from dataclasses import dataclass

from auth_service.adapters.crypto.keys import Digests
from auth_service.db import fetch_one, transaction
from auth_service.errors import EmailTaken, InvitationUnknown, RegistrationClosed, ServiceBusy
from auth_service.models import PORTAL_ADMIN
from auth_service.models.audit_event import EventType
from auth_service.models.invitation import InvitationState
from auth_service.models.outbox_message import EmailKind
from auth_service.models.permission import Permission
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.authorization.administrators import Administrators
from auth_service.services.authorization.callers import CurrentCallers
from auth_service.services.authorization.roles import Roles
from auth_service.services.authorization.statements import UserWithRoles
from auth_service.services.caller import Caller
from auth_service.services.credentials.passwords import Passwords
from auth_service.services.flows.invitations import statements as sql
from auth_service.services.flows.invitations.statements import InvitationRecord
from auth_service.services.users.users import Users

TRIES = 3
"""How often a user is created or confirmed whom concurrent requests delete in between."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InvitationAcceptance:
    """Reads and redeems the links of invitations. A link works once; reading it does not consume it.

    The link was emailed, so its token proves control of the address, as a code does. Acceptance finishes a
    registration: flow tickets of other registrations of the address become invalid (account pre-hijacking).
    """

    users: Users
    roles: Roles
    administrators: Administrators
    callers: CurrentCallers
    passwords: Passwords
    audit_log: AuditLog
    digests: Digests
    is_closed: bool
    """Whether invitations are refused, too (`SIGN_UP=closed`)."""

    def read(self, token: str) -> InvitationRecord:
        """Return the invitation of a link. Raises RegistrationClosed, InvitationUnknown."""
        if self.is_closed:
            raise RegistrationClosed
        invitation = fetch_one(sql.BY_LINK({"digest": self.digests.of(token)}))
        if invitation is None:
            raise InvitationUnknown
        return invitation

    def accept(self, token: str, *, password: str | None, client: ClientInfo) -> UserWithRoles:
        """Create or confirm the user, with the roles that the inviter may still grant; open no session.

        Locks the administrators, the invitation, the user and the roles in this order. Raises RegistrationClosed,
        InvitationUnknown, ValidationFailed for the password, EmailTaken if the user was confirmed in another way,
        ServiceBusy.
        """
        invitation = self.read(token)
        # Before the transaction: hashing is slow, and no transaction may be open meanwhile. Only for a valid link, so
        # that a client without one cannot occupy the capacity.
        password_hash = None
        if password is not None:
            password_hash = self.passwords.check_and_hash(password, email=invitation.email)
        if PORTAL_ADMIN in invitation.roles:
            self.administrators.lock()
        self.administrators.lock_for_first(invitation.address)
        digest = self.digests.of(token)
        if transaction().fetch_one(sql.LOCK_BY_LINK({"digest": digest})) is None:  # a concurrent request was faster
            raise InvitationUnknown
        user_id = self._confirmed_user(invitation, digest=digest, password_hash=password_hash, client=client)
        transaction().write(sql.ACCEPT({"invitation_id": invitation.id, "user_id": user_id}))
        self._grant_roles(invitation, user_id=user_id, client=client)
        self.administrators.promote_first(user_id=user_id, address=invitation.address, client=client)
        return self.roles.user(user_id)

    def _confirmed_user(
        self, invitation: InvitationRecord, *, digest: bytes, password_hash: str | None, client: ClientInfo
    ) -> int:
        """Create the user, or take the temporary user of the address; confirm the address and return the id.

        `digest` takes the place of that of a flow ticket, so that no ticket can repeat the end of the registration.
        """
        for _ in range(TRIES):
            created = self.users.create(email=invitation.address, language=invitation.language)
            user = created or self.users.by_email(invitation.address)
            if user is None:  # a concurrent request has deleted the temporary user
                continue
            promoted = self.users.promote(
                user.id,
                digest=digest,
                password_hash=password_hash,
                letters_about=EmailKind.REGISTRATION_CODE,
                client=client,
            )
            if promoted is not None:
                self.users.set_language(user.id, invitation.language)
                return user.id
            if user.verified_mail:
                raise EmailTaken
        raise ServiceBusy(retry_after=1)

    def _grant_roles(self, invitation: InvitationRecord, *, user_id: int, client: ClientInfo) -> None:
        inviter = self._inviter(invitation)
        granted = self.roles.grant_invited(user_id, invitation.roles, inviter=inviter, client=client)
        self.audit_log.record(
            EventType.INVITATION_ACCEPTED,
            user_id=user_id,
            client=client,
            target=("invitation", str(invitation.id)),
            changes={
                "state": [InvitationState.OPEN.value, InvitationState.ACCEPTED.value],
                "roles": [[], granted],
                "refused_roles": [[], _without(invitation.roles, granted)],
            },
        )

    def _inviter(self, invitation: InvitationRecord) -> Caller | None:
        """Return the inviter, unless the inviter cannot invite any more."""
        inviter = self.callers.by_subject(invitation.invited_by)
        return inviter if inviter is not None and inviter.has_all([Permission.USERS_INVITE.value]) else None


def _without(names: Sequence[str], others: Sequence[str]) -> list[str]:
    return [name for name in names if name not in others]
