"""Email change: requested in a session, confirmed by a code to the new address, notified to the former address."""

import uuid
from dataclasses import dataclass
from typing import TypedDict

from sqlalchemy import BindParameter, Text, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert

from auth_service.adapters.redis.rate_limiter import Limit, RateLimiter, Windows
from auth_service.db import Statement, Write, fetch_one, transaction
from auth_service.errors import CodeExpired, EmailUnchanged, TokenInvalid, TooManyCodes
from auth_service.models import PendingEmailChange, Session
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import AuditLog, ClientInfo
from auth_service.services.credentials.one_time_codes import CodeSent, OneTimeCodes
from auth_service.services.email.addresses import Address, masked
from auth_service.services.flows.account_revert import AccountRevert
from auth_service.services.flows.reauthentication import Reauthentication
from auth_service.services.sessions.sessions import CurrentUser
from auth_service.services.users.recipients import recipient
from auth_service.services.users.security_notifications import SecurityNotifications
from auth_service.services.users.statements import UserRecord
from auth_service.services.users.users import Users, lock_shared


class _BySession(TypedDict):
    session: uuid.UUID


class _BySessionAndUser(_BySession):
    owner: int


class _NewPendingChange(_BySessionAndUser):
    email: str
    email_key: str


class _Replacement(TypedDict):
    old: uuid.UUID
    new: uuid.UUID


def _pending(email: str, key: str, code_session: uuid.UUID) -> tuple[Address, uuid.UUID]:
    return Address(stored=email, key=key), code_session


_session: BindParameter[uuid.UUID] = bindparam("session", type_=Session.id.type)
_PENDING = Statement(
    select(
        PendingEmailChange.email,
        PendingEmailChange.email_key,
        func.coalesce(PendingEmailChange.code_session_id, PendingEmailChange.session_id),
    ).where(PendingEmailChange.session_id == _session, PendingEmailChange.user_id == bindparam("owner")),
    parameters=_BySessionAndUser,
    row=_pending,
)
_LOCK_SESSION_SHARED = Statement(
    select(Session.id).where(Session.id == _session).with_for_update(read=True, key_share=True),
    parameters=_BySession,
    row=bool,
)
_new = {"email": bindparam("email", type_=Text), "email_key": bindparam("email_key", type_=Text)}
_SAVE_PENDING = Write(
    insert(PendingEmailChange)
    .values(session_id=_session, user_id=bindparam("owner"), **_new)
    .on_conflict_do_update(
        index_elements=[PendingEmailChange.session_id], set_={**_new, "code_session_id": None, "created_at": func.now()}
    ),
    parameters=_NewPendingChange,
)


_MOVE_PENDING = Write(
    update(PendingEmailChange)
    .where(PendingEmailChange.session_id == bindparam("old", type_=Session.id.type))
    .values(
        session_id=bindparam("new", type_=Session.id.type),
        code_session_id=func.coalesce(PendingEmailChange.code_session_id, PendingEmailChange.session_id),
    ),
    parameters=_Replacement,
)


def keep_pending_change(*, old: uuid.UUID, new: uuid.UUID) -> None:
    """Move the pending change of a session, with its emailed code, to the session that replaces it."""
    transaction().write(_MOVE_PENDING({"old": old, "new": new}))


@dataclass(frozen=True, kw_only=True, slots=True)
class EmailChangeFlow:
    """Changes the email address of an account. A session has at most one pending change."""

    users: Users
    reauthentication: Reauthentication
    codes: OneTimeCodes
    account_revert: AccountRevert
    audit_log: AuditLog
    security_notifications: SecurityNotifications
    limiter: RateLimiter
    per_user: Windows

    def begin(
        self, current_user: CurrentUser, *, email: Address, password: str | None, client: ClientInfo, network: str
    ) -> CodeSent:
        """Send a code to the new address, and replace the pending change of this session.

        For the address of another user the same work is done without an email. Constant work prevents user enumeration
        by answer or timing (ASVS 6.3.8). Users know their own address: another spelling of it is sent a code like any
        new address, and the same spelling is an error. Raises EmailUnchanged, ReauthenticationRequired, PasswordNotSet,
        TooManyAttempts, PasswordWrong, TooManyCodes, ServiceBusy, RedisUnavailable.
        """
        user = self.users.signed_in_user(current_user.id)
        if email == user.address:
            raise EmailUnchanged
        self.reauthentication.require_recent(
            user, password, current_user=current_user, purpose="email_change", client=client
        )
        self._count_request(user)
        owner = self.users.by_email(email)
        is_own = owner is not None and owner.id == user.id
        if is_own and self.codes.outbox.is_full(email):
            raise self.codes.outbox.daily_cap_error(
                email
            )  # of their own address, users may know that the daily cap is reached
        is_taken = owner is not None and owner.verified_mail and not is_own
        to = recipient(user, address=email, session_id=current_user.session_id, is_decoy=is_taken)
        sent = self.codes.send(to, network=network)
        self._save_pending(current_user, email)
        self.audit_log.record(
            EventType.EMAIL_CHANGE_ASKED, user_id=user.id, client=client, session_id=current_user.session_id
        )
        return sent

    def confirm(self, current_user: CurrentUser, *, code: str, client: ClientInfo) -> None:
        """Change the address to that of the pending change of this session, if the code proves control of it.

        Sends the security notification to the former address, with a link that reverts a takeover. Raises CodeWrong,
        CodeExpired if this session has no valid code, EmailTaken if another user has verified the address meanwhile,
        RedisUnavailable.
        """
        user = self.users.by_id(current_user.id)
        pending = fetch_one(_PENDING({"session": current_user.session_id, "owner": current_user.id}))
        if user is None or pending is None:
            raise CodeExpired
        email, code_session = pending
        to = recipient(user, address=email, session_id=code_session)
        self.reauthentication.verify_code(
            code, codes=self.codes, to=to, current_user=current_user, purpose="email_change", client=client
        )
        # The code is bound to the credential version that was read; a concurrent change invalidates it.
        if not self.users.change_email(user, email):
            raise CodeExpired
        link = self.account_revert.link_for_changed_email(user_id=user.id, former=user.address)
        self.audit_log.record(
            EventType.EMAIL_CHANGED, user_id=user.id, client=client, session_id=current_user.session_id
        )
        self.security_notifications.send(
            "email_changed", user_id=user.id, client=client, to=user.address, new_email=masked(email), **link
        )

    def _count_request(self, user: UserRecord) -> None:
        """Count the request for the user, so that one account cannot send email to any number of addresses.

        Raises TooManyCodes.
        """
        hit = self.limiter.hit(Limit(name="email_changes", windows=self.per_user, subject=str(user.id)))
        if not hit.allowed:
            raise TooManyCodes(retry_after=hit.wait.total_seconds())

    def _save_pending(self, current_user: CurrentUser, email: Address) -> None:
        # Lock order of all flows: the user, then the session, so that concurrent flows cannot deadlock. A missing row
        # means that the user was deleted or the session ended meanwhile.
        if not lock_shared(current_user.id):
            raise TokenInvalid
        if transaction().fetch_one(_LOCK_SESSION_SHARED({"session": current_user.session_id})) is None:
            raise TokenInvalid
        transaction().write(
            _SAVE_PENDING(
                {
                    "session": current_user.session_id,
                    "owner": current_user.id,
                    "email": email.stored,
                    "email_key": email.key,
                }
            )
        )
