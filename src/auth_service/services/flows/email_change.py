"""Changes of address: wanted in a session, proved by a code that was mailed to the new one, told to the old one."""

import uuid
from dataclasses import dataclass
from typing import TypedDict

from sqlalchemy import BindParameter, Text, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert

from auth_service.adapters.redis.rate_limiter import Limit, Limiter, Windows
from auth_service.db import Statement, Write, fetch_one, transaction
from auth_service.errors import CodeExpired, TokenInvalid, TooManyCodes
from auth_service.models import EmailChange, Session
from auth_service.models.audit_event import Kind
from auth_service.services.audit.events import History, Origin
from auth_service.services.credentials.one_time_codes import CodeSent, OneTimeCodes
from auth_service.services.email.addresses import Address, masked
from auth_service.services.flows.account_revert import Undos
from auth_service.services.flows.reauthentication import Proofs
from auth_service.services.sessions.sessions import Caller
from auth_service.services.users.recipients import recipient
from auth_service.services.users.security_notifications import Notices
from auth_service.services.users.statements import Person
from auth_service.services.users.users import Users, hold


class _OfSession(TypedDict):
    session: uuid.UUID


class _Owned(_OfSession):
    owner: int


class _NewWish(_Owned):
    email: str
    email_key: str


def _address(email: str, key: str) -> Address:
    return Address(stored=email, key=key)


_session: BindParameter[uuid.UUID] = bindparam("session", type_=Session.id.type)
_WISH = Statement(
    select(EmailChange.email, EmailChange.email_key).where(
        EmailChange.session_id == _session, EmailChange.user_id == bindparam("owner")
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
    insert(EmailChange)
    .values(session_id=_session, user_id=bindparam("owner"), **_new)
    .on_conflict_do_update(index_elements=[EmailChange.session_id], set_={**_new, "created_at": func.now()}),
    parameters=_NewWish,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class EmailChanges:
    """Moves accounts to other addresses."""

    users: Users
    proofs: Proofs
    codes: OneTimeCodes
    undos: Undos
    history: History
    notices: Notices
    limiter: Limiter
    per_user: Windows

    def begin(self, caller: Caller, *, email: Address, password: str | None, origin: Origin, network: str) -> CodeSent:
        """Mail a code to the new address; a newer wish of the same session takes the place of this one.

        Everything but the letter also happens for an address that somebody has already, the caller included: neither
        the answer nor its time tells whether there is somebody with it. Raises ReauthenticationRequired,
        PasswordNotSet, TooManyAttempts, PasswordWrong, TooManyCodes, ServiceBusy, RedisUnavailable.
        """
        person = self.users.owner(caller.id)
        self.proofs.fresh(person, password, caller=caller, purpose="email_change", origin=origin)
        self._count(person)
        owner = self.users.by_email(email)
        is_taken = owner is not None and owner.verified_mail
        to = recipient(person, address=email, session_id=caller.session_id, is_decoy=is_taken)
        sent = self.codes.send(to, network=network)
        self._remember(caller, email)
        self.history.note(Kind.EMAIL_CHANGE_ASKED, user_id=person.id, origin=origin, session_id=caller.session_id)
        return sent

    def confirm(self, caller: Caller, *, code: str, origin: Origin) -> None:
        """Move the account to the address that this session wants, if the code came from there.

        Raises CodeWrong, CodeExpired for everything that is no live code of this session, EmailTaken if somebody else
        has proved the address meanwhile, RedisUnavailable.
        """
        person = self.users.person(caller.id)
        email = self._wish(caller)
        if person is None or email is None:
            raise CodeExpired
        to = recipient(person, address=email, session_id=caller.session_id)
        self.proofs.by_code(code, codes=self.codes, to=to, caller=caller, purpose="email_change", origin=origin)
        # If the account was changed since it was read, the code was for the account as it was.
        if not self.users.move(person, email):
            raise CodeExpired
        undo = self.undos.for_changed_email(user_id=person.id, before=person.address)
        self.history.note(Kind.EMAIL_CHANGED, user_id=person.id, origin=origin, session_id=caller.session_id)
        self.notices.tell(
            "email_changed", user_id=person.id, origin=origin, to=person.address, new_email=masked(email), **undo
        )

    def _count(self, person: Person) -> None:
        """Count for the user: one account is no means to write to everybody. Raises TooManyCodes."""
        hit = self.limiter.hit(Limit(name="email_changes", windows=self.per_user, subject=str(person.id)))
        if not hit.allowed:
            raise TooManyCodes(retry_after=hit.wait.total_seconds())

    def _remember(self, caller: Caller, email: Address) -> None:
        # The user's row before the session's, the order of every flow that needs both. Without it the session is gone.
        if not hold(caller.id):
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

    def _wish(self, caller: Caller) -> Address | None:
        return fetch_one(_WISH({"session": caller.session_id, "owner": caller.id}))
