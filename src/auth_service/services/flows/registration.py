"""Registration: a sign-up creates a temporary user; an emailed code makes it a verified user."""

import hmac
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import bindparam, update

from auth_service import clock
from auth_service.adapters.crypto.keys import Digests
from auth_service.db import Write, transaction, unit_of_work
from auth_service.errors import (
    CodeExpired,
    DatabaseUnavailable,
    EmailTaken,
    MailAlreadyVerified,
    MailNotConfirmed,
    PasswordAlreadySet,
    PasswordNotSet,
    PasswordWrong,
    RegistrationClosed,
    ServiceBusy,
    UserUnknown,
)
from auth_service.models import User
from auth_service.models.outbox_message import EmailKind
from auth_service.services.audit.events import ClientInfo
from auth_service.services.authorization.administrators import Administrators
from auth_service.services.credentials.one_time_codes import CodeNotEmailed, CodeSent, OneTimeCodes
from auth_service.services.credentials.passwords import Passwords
from auth_service.services.email.addresses import Address
from auth_service.services.email.outbox import Outbox
from auth_service.services.flows.reauthentication import Reauthentication
from auth_service.services.users.recipients import recipient
from auth_service.services.users.statements import ById, PublicUser, UserRecord
from auth_service.services.users.users import Users

FINISHED_TICKET_TTL = timedelta(hours=1)
"""How long the request that finished a registration can be repeated. The cookie with the ticket can live longer: its
lifetime is up to the client, and a ticket without an end would be a credential without an end."""

NEVER_CHANGED = 0
"""Credential version of an account whose password and address have not changed since the registration."""


class _SetLanguage(ById):
    language: str


_SET_LANGUAGE = Write(
    update(User).where(User.id == bindparam("user_id")).values(language=bindparam("language")),
    parameters=_SetLanguage,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Registration:
    """The six requests of the registration.

    A code is bound to a flow ticket. An attacker who only knows the user id can neither use up the attempts of the
    user, nor finish a registration whose address another client has verified, nor set its password.
    """

    users: Users
    codes: OneTimeCodes
    outbox: Outbox
    passwords: Passwords
    reauthentication: Reauthentication
    administrators: Administrators
    tickets: Digests
    client_supplied_codes: bool
    """Whether the service sends a code that the client chose (`local`, `test`) or ignores it (`production`)."""
    is_open: bool
    """Whether a client can register without an invitation (`SIGN_UP`)."""

    def sign_up(self, *, email: Address, language: str) -> PublicUser:
        """Create a temporary user; of concurrent requests for one address, one succeeds.

        Raises RegistrationClosed alike for known and unknown addresses, EmailTaken.
        """
        self._require_open()
        user = self.users.create(email=email, language=language)
        if user is None:
            raise EmailTaken
        return user

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
        """Send a code; it replaces the earlier code of its flow ticket.

        `client_supplied` is a code that the client chose; in production it is used only in a request with a service key
        (`by_service`). `ticket` is the flow ticket of the client. `network` is the network of the client, for the rate
        limit. Raises RegistrationClosed, UserUnknown, MailAlreadyVerified, TooManyCodes, RedisUnavailable.
        """
        self._require_open()
        record = self.users.record_and_codes(user_id)
        if record is None:
            raise UserUnknown
        user, codes_today = record
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
            if self.users.by_id(user_id) is None:  # deleted meanwhile: no later request can succeed
                raise UserUnknown from None
            raise self.outbox.daily_cap_error(user.address) from None
        if new_language is not None:
            transaction().write(_SET_LANGUAGE({"user_id": user_id, "language": new_language}))
        return sent

    def confirm(self, *, user_id: int, code: str, ticket: str | None) -> None:
        """Verify a code. Raises CodeWrong, CodeExpired if the flow ticket has no valid code, RedisUnavailable."""
        user = self.users.by_id(user_id)
        if user is None or user.verified_mail:
            raise CodeExpired
        to = recipient(user, address=user.address, session_id=None)
        used = self.codes.verify_and_consume(code, to, ticket=ticket)
        # In a transaction of its own, whose failure is no failure of this request: the code was accepted, and a client
        # that repeated the request would find it used. Then the email is sent in vain.
        with suppress(DatabaseUnavailable, ServiceBusy), unit_of_work():
            self.codes.withdraw_email(used)

    def finish(self, *, user_id: int, ticket: str | None, password: str | None, client: ClientInfo) -> PublicUser:
        """Promote a temporary user whose address is verified to a portal user.

        Idempotent for the same flow ticket: a retry returns the same user. Raises UserUnknown, MailNotConfirmed,
        RegistrationClosed, PasswordAlreadySet, TooManyAttempts, ValidationFailed, ServiceBusy.
        """
        user = self.users.by_id(user_id)
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
            self._require_open()
            # Before the transaction: hashing is slow, and no transaction may be open meanwhile.
            password_hash = self.passwords.check_and_hash(password, email=user.email) if password is not None else None
            self.administrators.lock_for_first(user.address)  # before the row of the user is locked
            promoted = self.users.promote(
                user_id,
                digest=digest,
                password_hash=password_hash,
                letters_about=EmailKind.REGISTRATION_CODE,
                client=client,
            )
            if promoted is not None:
                self.administrators.promote_first(user_id=user_id, address=user.address, client=client)
                return promoted
            # A concurrent request has finished the registration: read its result.
            user = self.users.by_id(user_id)
        return self._repeated_result(user, digest=digest, password=password, client=client)

    def _require_open(self) -> None:
        if not self.is_open:
            raise RegistrationClosed

    def _repeated_result(
        self, user: UserRecord | None, *, digest: bytes, password: str | None, client: ClientInfo
    ) -> PublicUser:
        """Return the result again to the client that finished the registration, identified by its flow ticket.

        After an hour, and after a change of the password or the address, the request is a replay, not a retry, and is
        rejected.
        """
        if user is None:
            raise UserUnknown
        is_same_client = user.registration_digest is not None and hmac.compare_digest(user.registration_digest, digest)
        if not is_same_client or user.credential_version != NEVER_CHANGED or _ticket_has_expired(user):
            raise MailNotConfirmed
        if password is not None:
            try:
                self.reauthentication.verify_password(user, password, purpose="registration", client=client)
            except (PasswordNotSet, PasswordWrong):
                raise PasswordAlreadySet from None
        return self.users.public_by_id(user.id)


def _ticket_has_expired(user: UserRecord) -> bool:
    """Whether the registration of a verified user was finished too long ago to repeat its last request."""
    return user.verified_at is None or clock.now() - user.verified_at >= FINISHED_TICKET_TTL
