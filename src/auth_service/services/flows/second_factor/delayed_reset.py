"""Delayed reset of second factors by their user: first factor and emailed code remove them after a warning period."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from auth_service.adapters.crypto.keys import Digests, base64url
from auth_service.db import fetch_all, fetch_one, transaction, unit_of_work
from auth_service.errors import CodeExpired, CodeWrong, SecondFactorResetUnavailable, SecondStepExpired, UndoUnknown
from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import SERVICE, AuditLog, ClientInfo
from auth_service.services.credentials.factor_resets import (
    AFTER_SECOND_EMAIL,
    CANCEL_BY_LINK,
    DELETE_RESET,
    DUE,
    PENDING,
    REQUEST,
    STEP,
)
from auth_service.services.credentials.one_time_codes import CodeNotEmailed, CodeSent, OneTimeCodes
from auth_service.services.credentials.second_factors import factors_of
from auth_service.services.flows.second_factor.reset import SecondFactorReset
from auth_service.services.flows.second_factor.second_step import FirstStep, SecondStep
from auth_service.services.flows.sign_in_stages import SignInContext
from auth_service.services.users.recipients import recipient
from auth_service.services.users.security_notifications import SecurityNotifications
from auth_service.services.users.statements import UserRecord
from auth_service.services.users.users import lock_for_change

PURPOSE = "second_factor_reset"

BATCH = 100
"""Resets that one call of `run_due` continues at most; the next call continues the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelLinks:
    """Links that cancel a delayed reset. The tokens are derived, so that every email of a reset has the same link."""

    digests: Digests
    page: str
    """URL of the page of a link. The token follows as the fragment, which browsers do not send to servers."""

    def url(self, reset_id: uuid.UUID) -> str:
        """Return the link that cancels a reset."""
        return f"{self.page}#{self._token(reset_id)}"

    def digest(self, token: str) -> bytes:
        """Return the digest of a token, by which the reset is found."""
        return self.digests.of("cancel digest", token)

    def digest_of(self, reset_id: uuid.UUID) -> bytes:
        """Return the digest of the token of a reset."""
        return self.digest(self._token(reset_id))

    def _token(self, reset_id: uuid.UUID) -> str:
        return base64url(self.digests.of("cancel token", reset_id.hex))


@dataclass(frozen=True, kw_only=True, slots=True)
class DelayedResets:
    """Requests and cancels delayed resets (NIST SP 800-63B-4, 4.2.2). A user has at most one.

    A verified second factor cancels it, too (`cancel_reset`); a change of the credentials or of the second factors
    makes it void.
    """

    second_step: SecondStep
    codes: OneTimeCodes
    links: CancelLinks
    audit_log: AuditLog
    security_notifications: SecurityNotifications
    delay: timedelta
    """The time between the request and the reset; zero switches delayed resets off."""
    roles: frozenset[str]
    """`SECOND_FACTOR_ROLES`: their users cannot reset their second factors."""

    def send_code(self, first: FirstStep, *, context: SignInContext) -> CodeSent:
        """Email a code to the user of a first step.

        Raises SecondStepExpired, AccountBanned, SecondFactorResetUnavailable, TooManyCodes, RedisUnavailable. The first
        factor was correct, so an error at the daily cap reveals nothing.
        """
        user = self._user(first, context)
        try:
            return self.codes.send(
                recipient(user, address=user.address, session_id=None), network=context.client.network
            )
        except CodeNotEmailed:
            raise self.codes.outbox.daily_cap_error(user.address) from None

    def request(self, first: FirstStep, code: str, *, context: SignInContext) -> datetime:
        """Request the reset with the emailed code; return when it takes effect.

        A reset that was requested before keeps its time. Raises SecondStepExpired, AccountBanned,
        SecondFactorResetUnavailable, CodeWrong, CodeExpired, RedisUnavailable.
        """
        user, client = self._user(first, context), context.client
        try:
            used = self.codes.verify_and_consume(code, recipient(user, address=user.address, session_id=None))
        except (CodeWrong, CodeExpired):
            self.audit_log.record_failure(EventType.CODE_REFUSED, user_id=user.id, client=client, purpose=PURPOSE)
            raise
        reset_id = uuid.uuid4()
        effective_at = transaction().fetch_one(
            REQUEST(
                {
                    "user_id": user.id,
                    "id": reset_id,
                    "delay": self.delay,
                    "cancel_digest": self.links.digest_of(reset_id),
                    "credential_version": user.credential_version,
                    "factor_version": user.factor_version,
                }
            )
        )
        if effective_at is None:
            effective_at = fetch_one(PENDING({"user_id": user.id}))
            if effective_at is None:
                raise SecondStepExpired
        else:
            self.audit_log.record(EventType.SECOND_FACTOR_RESET_ASKED, user_id=user.id, client=client)
            self.security_notifications.send(
                "second_factor_reset_asked",
                user_id=user.id,
                client=client,
                **template_values(effective_at, cancel_url=self.links.url(reset_id)),
            )
        self.codes.withdraw_email(used)
        return effective_at

    def cancel(self, token: str, *, client: ClientInfo) -> None:
        """Cancel a reset with the link of an email. Raises UndoUnknown if there is none with this link."""
        cancelled = transaction().fetch_one(
            CANCEL_BY_LINK({"cancel_digest": self.links.digest(token), **client.as_parameters()})
        )
        if cancelled is None:
            raise UndoUnknown

    def _user(self, first: FirstStep, context: SignInContext) -> UserRecord:
        """Return the user of a first step, whose second factors can be reset."""
        user = self.second_step.verified_sign_in(first, context=context).user
        factors = factors_of(user.id)
        if factors is None:  # deleted meanwhile
            raise SecondStepExpired
        if not self.delay or factors.has_role_of(self.roles):
            raise SecondFactorResetUnavailable
        if factors.totp_since is None:  # a new sign-in needs no second step
            raise SecondStepExpired
        return user


@dataclass(frozen=True, kw_only=True, slots=True)
class DueResets:
    """Continues delayed resets by the clock of the database: the second email, then the reset itself.

    The mail worker calls `run_due`: it runs wherever the service does, and without it no user would be warned. Locks:
    the user, then the reset.
    """

    reset: SecondFactorReset
    links: CancelLinks
    security_notifications: SecurityNotifications
    is_on: bool
    """Whether delayed resets are on (`SECOND_FACTOR_RESET_SECONDS`)."""
    roles: frozenset[str]

    def run_due(self) -> None:
        """Continue the resets whose next step is due, each in a unit of work of its own."""
        for user_id in fetch_all(DUE({"at_most": BATCH})):
            with unit_of_work():
                self._continue(user_id)

    def _continue(self, user_id: int) -> None:
        lock_for_change(user_id)
        step = transaction().fetch_one(STEP({"user_id": user_id}))
        if step is None:  # cancelled meanwhile, or another mail worker was faster
            return
        factors = factors_of(user_id)
        if not self.is_on or not step.is_valid or factors is None or factors.has_role_of(self.roles):
            transaction().write(DELETE_RESET({"user_id": user_id}))
        elif step.is_effective:
            transaction().write(DELETE_RESET({"user_id": user_id}))
            self.reset.by_delay(user_id)
        else:
            self._send_second_email(user_id, step.id)

    def _send_second_email(self, user_id: int, reset_id: uuid.UUID) -> None:
        effective_at = transaction().fetch_one(AFTER_SECOND_EMAIL({"user_id": user_id}))
        if effective_at is not None:
            self.security_notifications.send(
                "second_factor_reset_near",
                user_id=user_id,
                client=SERVICE,
                **template_values(effective_at, cancel_url=self.links.url(reset_id)),
            )


def template_values(effective_at: datetime, *, cancel_url: str) -> dict[str, Any]:
    """Return the values of an email about a reset that has not taken effect yet."""
    return {"due": f"{effective_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC", "cancel_url": cancel_url}
