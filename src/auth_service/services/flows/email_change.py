"""Changes of address: wanted in a session, proved by a code that was mailed to the new one, told to the old one."""

import uuid
from dataclasses import dataclass
from typing import TypedDict

from sqlalchemy import BindParameter, Text, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert

from auth_service.adapters.redis.rate_limiter import Limit, RateLimiter, Windows
from auth_service.db import Statement, Write, fetch_one, transaction
from auth_service.errors import CodeExpired, TokenInvalid, TooManyCodes
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


class _OfSession(TypedDict):
    session: uuid.UUID


class _Owned(_OfSession):
    owner: int


class _NewPendingChange(_Owned):
    email: str
    email_key: str


def _address(email: str, key: str) -> Address:
    return Address(stored=email, key=key)


_session: BindParameter[uuid.UUID] = bindparam("session", type_=Session.id.type)
_PENDING = Statement(
    select(PendingEmailChange.email, PendingEmailChange.email_key).where(
        PendingEmailChange.session_id == _session, PendingEmailChange.user_id == bindparam("owner")
    ),
    parameters=_Owned,
    row=_address,
)
_HOLD_SESSION = Statement(
    select(Session.id).where(Session.id == _session).with_for_update(read=True, key_share=True),
    parameters=_OfSession,
    row=bool,
)
_new = {"email": bindparam("email", type_=Text), "email_key": bindparam("email_key", type_=Text)}
_REMEMBER = Write(
    insert(PendingEmailChange)
    .values(session_id=_session, user_id=bindparam("owner"), **_new)
    .on_conflict_do_update(index_elements=[PendingEmailChange.session_id], set_={**_new, "created_at": func.now()}),
    parameters=_NewPendingChange,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class EmailChangeFlow:
    """Moves accounts to other addresses."""

    users: Users
    reauthentication: Reauthentication
    codes: OneTimeCodes
    undos: AccountRevert
    history: AuditLog
    notices: SecurityNotifications
    limiter: RateLimiter
    per_user: Windows

    def begin(
        self, caller: CurrentUser, *, email: Address, password: str | None, client: ClientInfo, network: str
    ) -> CodeSent:
        """Mail a code to the new address; a newer wish of the same session takes the place of this one.

        Everything but the letter also happens for an address that somebody has already, the caller included: neither
        the answer nor its time tells whether there is somebody with it. Raises ReauthenticationRequired,
        PasswordNotSet, TooManyAttempts, PasswordWrong, TooManyCodes, ServiceBusy, RedisUnavailable.
        """
        user = self.users.owner(caller.id)
        self.reauthentication.fresh(user, password, caller=caller, purpose="email_change", client=client)
        self._count(user)
        owner = self.users.by_email(email)
        is_taken = owner is not None and owner.verified_mail
        to = recipient(user, address=email, session_id=caller.session_id, is_decoy=is_taken)
        sent = self.codes.send(to, network=network)
        self._remember(caller, email)
        self.history.record(EventType.EMAIL_CHANGE_ASKED, user_id=user.id, client=client, session_id=caller.session_id)
        return sent

    def confirm(self, caller: CurrentUser, *, code: str, client: ClientInfo) -> None:
        """Move the account to the address that this session wants, if the code came from there.

        Raises CodeWrong, CodeExpired for everything that is no live code of this session, EmailTaken if somebody else
        has proved the address meanwhile, RedisUnavailable.
        """
        user = self.users.user(caller.id)
        email = self._pending(caller)
        if user is None or email is None:
            raise CodeExpired
        to = recipient(user, address=email, session_id=caller.session_id)
        self.reauthentication.by_code(
            code, codes=self.codes, to=to, caller=caller, purpose="email_change", client=client
        )
        # If the account was changed since it was read, the code was for the account as it was.
        if not self.users.move(user, email):
            raise CodeExpired
        undo = self.undos.for_changed_email(user_id=user.id, before=user.address)
        self.history.record(EventType.EMAIL_CHANGED, user_id=user.id, client=client, session_id=caller.session_id)
        self.notices.tell(
            "email_changed", user_id=user.id, client=client, to=user.address, new_email=masked(email), **undo
        )

    def _count(self, user: UserRecord) -> None:
        """Count for the user: one account is no means to write to everybody. Raises TooManyCodes."""
        hit = self.limiter.hit(Limit(name="email_changes", windows=self.per_user, subject=str(user.id)))
        if not hit.allowed:
            raise TooManyCodes(retry_after=hit.wait.total_seconds())

    def _remember(self, caller: CurrentUser, email: Address) -> None:
        # The user's row before the session's, the order of every flow that needs both. Without it the session is gone.
        if not lock_shared(caller.id):
            raise TokenInvalid
        if transaction().fetch_one(_HOLD_SESSION({"session": caller.session_id})) is None:
            raise TokenInvalid
        transaction().write(
            _REMEMBER(
                {
                    "session": caller.session_id,
                    "owner": caller.id,
                    "email": email.stored,
                    "email_key": email.key,
                }
            )
        )

    def _pending(self, caller: CurrentUser) -> Address | None:
        return fetch_one(_PENDING({"session": caller.session_id, "owner": caller.id}))
