"""Registration: an address becomes a temporary user, whom an emailed code turns into a verified user."""

import hmac
from dataclasses import dataclass, replace

from sqlalchemy import bindparam, update

from auth_service.adapters.crypto.keys import Digests
from auth_service.db import Write, transaction
from auth_service.errors import (
    CodeExpired,
    EmailTaken,
    MailAlreadyVerified,
    MailNotConfirmed,
    PasswordAlreadySet,
    PasswordNotSet,
    PasswordWrong,
    UserUnknown,
)
from auth_service.models import User
from auth_service.models.outbox_message import EmailKind
from auth_service.services.audit.events import ClientInfo
from auth_service.services.credentials.one_time_codes import CodeNotEmailed, CodeSent, OneTimeCodes
from auth_service.services.credentials.passwords import Passwords
from auth_service.services.email.addresses import Address
from auth_service.services.email.outbox import Outbox
from auth_service.services.flows.reauthentication import Reauthentication
from auth_service.services.users.recipients import recipient
from auth_service.services.users.statements import ById, PublicUser, UserRecord
from auth_service.services.users.users import Users

NEVER_CHANGED = 0
"""The version of the credentials of an account whose password and address are those of the registration."""


class _SetLanguage(ById):
    language: str


_SET_LANGUAGE = Write(
    update(User).where(User.id == bindparam("user_id")).values(language=bindparam("language")),
    parameters=_SetLanguage,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Registration:
    """The six requests of the registration.

    A code belongs to a flow ticket, not to a user: an attacker who merely knows the id can neither burn the attempts of
    the honest user, nor finish a registration whose address another client verified, nor set its password.
    """

    users: Users
    codes: OneTimeCodes
    outbox: Outbox
    passwords: Passwords
    reauthentication: Reauthentication
    tickets: Digests
    client_supplied_codes: bool
    """Whether a code in the request is used as it is (`local`, `test`), or ignored (`production`)."""

    def sign_up(self, *, email: Address, language: str) -> PublicUser:
        """Create a temporary user. Raises EmailTaken; of fifty concurrent requests, for forty-nine."""
        profile = self.users.create(email=email, language=language)
        if profile is None:
            raise EmailTaken
        return profile

    def send_code(
        self,
        *,
        user_id: int,
        client_supplied: str | None,
        by_service: bool = False,
        ticket: str | None,
        language: str | None,
        network: str,
    ) -> CodeSent:
        """Email a code, from then on the only valid one of its ticket.

        `client_supplied` is a code that the client chose; in production it counts only if a service with a key sends it
        (`by_service`). `ticket` is the flow ticket that the client holds, `network` where the client comes from. Raises
        UserUnknown, MailAlreadyVerified, TooManyCodes, RedisUnavailable.
        """
        known = self.users.record_and_codes(user_id)
        if known is None:
            raise UserUnknown
        user, codes_today = known
        if user.verified_mail:
            raise MailAlreadyVerified
        new_language = language if language != user.language else None
        to = recipient(user, address=user.address, session_id=None)
        try:
            sent = self.codes.send(
                replace(to, language=new_language or user.language),
                network=network,
                ticket=ticket,
                client_supplied=client_supplied if by_service or self.client_supplied_codes else None,
                codes_today=codes_today,
            )
        except CodeNotEmailed:
            if self.users.user(user_id) is None:  # deleted meanwhile, so waiting for the daily cap is in vain
                raise UserUnknown from None
            raise self.outbox.refusal(user.address) from None
        if new_language is not None:
            transaction().write(_SET_LANGUAGE({"user_id": user_id, "language": new_language}))
        return sent

    def confirm(self, *, user_id: int, code: str, ticket: str | None) -> None:
        """Verify a code. Raises CodeWrong, or CodeExpired for everything that is no open code of this ticket."""
        user = self.users.user(user_id)
        if user is None or user.verified_mail:
            raise CodeExpired
        to = recipient(user, address=user.address, session_id=None)
        self.codes.verify_and_consume(code, to, ticket=ticket)

    def finish(self, *, user_id: int, ticket: str | None, password: str | None, client: ClientInfo) -> PublicUser:
        """Make a temporary user with a verified address a portal user.

        The same request again, with the same ticket, gives the same user. Raises UserUnknown, MailNotConfirmed,
        PasswordAlreadySet, TooManyAttempts, ValidationFailed, ServiceBusy.
        """
        user = self.users.user(user_id)
        if user is None:
            raise UserUnknown
        to = recipient(user, address=user.address, session_id=None)
        bound_ticket = self.codes.bound_ticket(to, ticket)
        if bound_ticket is None:
            raise MailNotConfirmed
        digest = self.tickets.of("finished", str(user_id), bound_ticket)

        if not user.verified_mail:
            if not self.codes.was_accepted(to, ticket=bound_ticket):
                raise MailNotConfirmed
            # Hashing takes longer than everything else together; no transaction is open yet.
            password_hash = self.passwords.check_and_hash(password, email=user.email) if password is not None else None
            profile = self.users.promote(
                user_id,
                digest=digest,
                password_hash=password_hash,
                letters_about=EmailKind.REGISTRATION_CODE,
                client=client,
            )
            if profile is not None:
                return profile
            # Nothing was written: a concurrent request has finished the registration. Read its result.
            user = self.users.user(user_id)
        return self._finished_before(user, digest=digest, password=password, client=client)

    def _finished_before(
        self, user: UserRecord | None, *, digest: bytes, password: str | None, client: ClientInfo
    ) -> PublicUser:
        """Give the same answer again to the client that finished the registration, and to no other one.

        A change of the password or the address ends that: the user has signed in since, and a replay is no retry.
        """
        if user is None:
            raise UserUnknown
        known = user.registration_digest is not None and hmac.compare_digest(user.registration_digest, digest)
        if not known or user.credential_version != NEVER_CHANGED:
            raise MailNotConfirmed
        if password is not None:
            try:
                self.reauthentication.by_password(user, password, purpose="registration", client=client)
            except (PasswordNotSet, PasswordWrong):
                raise PasswordAlreadySet from None
        return self.users.profile(user.id)
