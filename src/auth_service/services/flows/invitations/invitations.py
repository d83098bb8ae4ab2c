"""Invitations: an administrator or a service invites a person by email, sends the link again, or revokes it."""

import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from auth_service import clock
from auth_service.adapters.crypto.keys import Digests
from auth_service.db import fetch_all, fetch_one, transaction
from auth_service.errors import EmailTaken, InvitationOpen, InvitationUnknown, RegistrationClosed, ServiceBusy
from auth_service.models.audit_event import EventType
from auth_service.models.invitation import InvitationState
from auth_service.models.outbox_message import EmailKind
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.authorization.roles import Roles
from auth_service.services.caller import Caller
from auth_service.services.credentials.code_limits import CodeLimiter
from auth_service.services.email.addresses import Address
from auth_service.services.email.outbox import CodePlace, Outbox
from auth_service.services.flows.invitations import statements as sql
from auth_service.services.flows.invitations.statements import InvitationRecord
from auth_service.services.pagination import Cursors, Page
from auth_service.services.users.users import Users

TOKEN_BYTES = 32
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)
_LAST_ID = uuid.UUID(int=2**128 - 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class InvitationSent:
    """The result of sending an invitation again."""

    expires_in: timedelta
    resend_after: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Invitations:
    """Creates, lists, sends again and revokes invitations; `InvitationAcceptance` redeems their links.

    An invitation is an email to a person who has not asked for it. So it counts for the limits and the daily cap of its
    address together with the codes, and for each caller apart: a leaked key cannot flood a mailbox. Redis counts before
    anything is written. A request with an idempotency key holds only the lock of that key meanwhile.
    """

    users: Users
    roles: Roles
    outbox: Outbox
    limiter: CodeLimiter
    audit_log: AuditLog
    cursors: Cursors
    digests: Digests
    link_page: str
    """URL of the page of a link. The token follows as the fragment, which browsers do not send to servers."""
    ttl: timedelta
    """How long a link works."""
    is_closed: bool
    """Whether invitations are refused, too (`SIGN_UP=closed`)."""

    def create(
        self, *, email: Address, roles: Iterable[str], language: str, caller: Caller, client: ClientInfo
    ) -> InvitationRecord:
        """Invite a person, with roles that the caller may grant.

        Raises RegistrationClosed, LimitReached, RoleIsSystem, BeyondYourOwn, RoleUnknown, EmailTaken for the address of
        a confirmed user, InvitationOpen, TooManyCodes, RedisUnavailable, ServiceBusy.
        """
        self._require_not_closed()
        names = self.roles.grantable(roles, caller=caller)
        self._require_unconfirmed(email)
        self._require_no_invitation(email)
        self.limiter.count(key=email.key, network=caller.subject)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        invitation = transaction().fetch_one(
            sql.CREATE(
                {
                    "id": uuid.uuid4(),
                    "email": email.stored,
                    "email_key": email.key,
                    "language": language,
                    "roles": names,
                    "digest": self.digests.of(token),
                    "invited_by": caller.subject,
                    "link_ttl": self.ttl,
                }
            )
        )
        if invitation is None:  # a concurrent request was faster
            self._require_no_invitation(email)
            raise ServiceBusy(retry_after=1)
        self._send(invitation, token)
        changes: dict[str, list[object]] = {"state": [None, InvitationState.OPEN.value], "roles": [[], names]}
        self._record(EventType.INVITATION_CREATED, invitation.id, caller, client, changes)
        return invitation

    def page(self, *, caller: Caller, state: str | None, cursor: str | None, limit: int) -> Page[InvitationRecord]:
        """Return a page of the invitations, the newest first, of one state or of all.

        Raises ValidationFailed for a cursor of another caller or state.
        """
        of = f"invitations {state or ''}"
        created_at, before = _END_OF_TIME, _LAST_ID
        if cursor is not None:
            created_at_text, id_text = self.cursors.position(cursor, of=of, owner=caller.subject)
            created_at, before = datetime.fromisoformat(created_at_text), uuid.UUID(id_text)
        rows = fetch_all(sql.PAGE({"state": state, "created_at": created_at, "before": before, "at_most": limit + 1}))
        return self.cursors.page(
            rows,
            limit=limit,
            of=of,
            owner=caller.subject,
            position=lambda row: [row.created_at.isoformat(), str(row.id)],
        )

    def resend(self, invitation_id: uuid.UUID, *, caller: Caller, client: ClientInfo) -> InvitationSent:
        """Send an open invitation again, also after it has expired: with a new link, which replaces the earlier one.

        The inviter stays the one who granted the roles. Raises RegistrationClosed, InvitationUnknown, EmailTaken,
        TooManyCodes, RedisUnavailable.
        """
        self._require_not_closed()
        invitation = fetch_one(sql.BY_ID({"invitation_id": invitation_id}))
        if invitation is None or invitation.state not in (InvitationState.OPEN, InvitationState.EXPIRED):
            raise InvitationUnknown
        self._require_unconfirmed(invitation.address)
        resend_after = self.limiter.count(key=invitation.email_key, network=caller.subject)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        renewed = transaction().fetch_one(
            sql.RENEW({"invitation_id": invitation_id, "digest": self.digests.of(token), "link_ttl": self.ttl})
        )
        if renewed is None:  # accepted or revoked meanwhile
            raise InvitationUnknown
        self.outbox.withdraw_code(invitation_id.bytes)
        self._send(invitation, token)
        changes: dict[str, list[object]] = {"state": [invitation.state, InvitationState.OPEN.value]}
        self._record(EventType.INVITATION_RESENT, invitation_id, caller, client, changes)
        return InvitationSent(expires_in=self.ttl, resend_after=resend_after)

    def revoke(self, invitation_id: uuid.UUID, *, caller: Caller, client: ClientInfo) -> None:
        """Revoke an open invitation; idempotent. Raises InvitationUnknown, also for an accepted invitation."""
        before = transaction().fetch_one(sql.REVOKE({"invitation_id": invitation_id}))
        if before is None:
            invitation = transaction().fetch_one(sql.BY_ID({"invitation_id": invitation_id}))
            if invitation is None or invitation.state != InvitationState.REVOKED:
                raise InvitationUnknown
            return
        self.outbox.withdraw_code(invitation_id.bytes)
        changes: dict[str, list[object]] = {"state": [before, InvitationState.REVOKED.value]}
        self._record(EventType.INVITATION_REVOKED, invitation_id, caller, client, changes)

    def delete_ended(self, *, older_than: timedelta, at_most: int) -> int:
        """Delete up to `at_most` invitations that ended or expired longer than `older_than` ago; return how many."""
        return len(transaction().fetch_all(sql.DELETE_ENDED({"older_than": older_than, "at_most": at_most})))

    def _send(self, invitation: InvitationRecord, token: str) -> None:
        """Add the email with the link. Raises TooManyCodes at the daily cap of the address."""
        now = clock.now()
        message = self.outbox.message(
            kind=EmailKind.INVITATION,
            to=invitation.address,
            user_id=None,
            language=invitation.language,
            values={
                "invitation_url": f"{self.link_page}#{token}",
                "valid_until": f"{now + self.ttl:%Y-%m-%d %H:%M} UTC",
            },
            ttl=self.ttl,
            # The mail worker drops the email of a link that a newer one has replaced.
            place=CodePlace(slot=invitation.id.bytes, number=int(now.timestamp() * 1_000_000)),
        )
        if not self.outbox.put_capped(message):
            raise self.outbox.daily_cap_error(invitation.address)

    def _require_not_closed(self) -> None:
        if self.is_closed:
            raise RegistrationClosed

    def _require_unconfirmed(self, email: Address) -> None:
        user = self.users.by_email(email)
        if user is not None and user.verified_mail:
            raise EmailTaken

    def _require_no_invitation(self, email: Address) -> None:
        existing = fetch_one(sql.OPEN_OF_ADDRESS({"key": email.key}))
        if existing is not None:
            raise InvitationOpen(id=existing)

    def _record(
        self,
        kind: EventType,
        invitation_id: uuid.UUID,
        caller: Caller,
        client: ClientInfo,
        changes: dict[str, list[object]],
    ) -> None:
        target = ("invitation", str(invitation_id))
        self.audit_log.record(kind, user_id=None, client=client, actor=caller, target=target, changes=changes)
