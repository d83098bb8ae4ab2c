"""Outbox messages: emails to send, and the records of those that have ended (table `letters`)."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.db.base import Base

WAITING, SENT, EXPIRED, DEAD = "waiting", "sent", "expired", "dead"


class EmailKind(StrEnum):
    """The kinds of emails, which are the names of their templates.

    The names persist in rows of the outbox. No constraint of the table lists them: during a rolling update two releases
    may know different ones.
    """

    REGISTRATION_CODE = "registration_code"
    SIGN_IN_CODE = "sign_in_code"
    RECOVERY_CODE = "recovery_code"
    EMAIL_CODE = "email_code"
    DELETION_CODE = "deletion_code"
    NEW_DEVICE = "new_device"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - the name of an email
    PASSWORD_RECOVERED = "password_recovered"  # noqa: S105 - the name of an email
    REFRESH_REUSED = "refresh_reused"
    EMAIL_CHANGED = "email_changed"
    ACCOUNT_DELETED = "account_deleted"
    REAUTHENTICATION_CODE = "reauthentication_code"
    ROLE_CHANGED = "role_changed"
    ADMINISTRATORS_CHANGED = "administrators_changed"
    ACCOUNT_BANNED = "account_banned"
    PASSWORD_RESET_FORCED = "password_reset_forced"  # noqa: S105 - the name of an email
    INVITATION = "invitation"
    SECOND_FACTOR_ON = "second_factor_on"
    SECOND_FACTOR_OFF = "second_factor_off"
    SECOND_FACTOR_ATTEMPTS = "second_factor_attempts"
    SECOND_FACTOR_RESET_CODE = "second_factor_reset_code"
    SECOND_FACTOR_RESET_ASKED = "second_factor_reset_asked"
    SECOND_FACTOR_RESET_NEAR = "second_factor_reset_near"
    SECOND_FACTOR_RESET_DONE = "second_factor_reset_done"
    RECOVERY_CODE_USED = "recovery_code_used"
    PASSKEY_ADDED = "passkey_added"
    PASSKEY_REMOVED = "passkey_removed"
    PASSKEY_CLONED = "passkey_cloned"

    @property
    def carries_code(self) -> bool:
        """Whether emails of this kind contain a one-time code."""
        return self in CODE_KINDS


CODE_KINDS = (
    EmailKind.REGISTRATION_CODE,
    EmailKind.SIGN_IN_CODE,
    EmailKind.RECOVERY_CODE,
    EmailKind.EMAIL_CODE,
    EmailKind.DELETION_CODE,
    EmailKind.REAUTHENTICATION_CODE,
    EmailKind.SECOND_FACTOR_RESET_CODE,
)
"""The kinds of emails with a one-time code. A tuple, so that the text of a statement is the same in all processes."""

CAPPED_KINDS = (*CODE_KINDS, EmailKind.INVITATION)
"""The kinds of emails that count for the daily cap of their address: those that other people can cause."""


class OutboxMessage(Base):
    """An email, added in the transaction of its cause (transactional outbox).

    Its state is `waiting`, then `sent`, `expired` (withdrawn, or too old to be sent) or `dead` (rejected permanently).
    Only a waiting message has a payload. The payload is encrypted.
    """

    __tablename__ = "letters"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'sent', 'expired', 'dead')", name="state_known"),
        CheckConstraint("(state = 'waiting') = (payload IS NOT NULL)", name="only_waiting_has_payload"),
        CheckConstraint("(state = 'waiting') = (ended_at IS NULL)", name="ended_has_instant"),
        CheckConstraint("language IN ('en', 'ru')", name="language_known"),
        CheckConstraint("attempts >= 0", name="attempts_counted"),
        Index("ix_letters_due", "next_attempt_at", postgresql_where=text("state = 'waiting'")),
        Index("ix_letters_recipient_key_created_at", "recipient_key", "created_at"),
        Index("ix_letters_user_id", "user_id"),
        Index("ix_letters_state_created_at_id", "state", "created_at", "id"),
        Index("ix_letters_ended_at", "ended_at", postgresql_where=text("state <> 'waiting'")),
        Index("ix_letters_dead", "ended_at", postgresql_where=text("state = 'dead'")),
        Index("ix_letters_not_after", "not_after", postgresql_where=text("state = 'waiting'")),
        Index("ix_letters_slot_code_number", "slot", "code_number", postgresql_where=text("slot IS NOT NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    dedup_key: Mapped[str] = mapped_column(Text, unique=True)
    """Identifies the cause: adding the same cause twice sends one email (idempotency)."""
    kind: Mapped[str] = mapped_column(Text)
    user_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="SET NULL"))
    recipient: Mapped[str] = mapped_column(Text)
    recipient_key: Mapped[str] = mapped_column(Text)
    """The normalised address, by which the daily cap is counted."""
    language: Mapped[str] = mapped_column(Text)
    payload: Mapped[bytes | None] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(Text, default=WAITING, server_default=WAITING)
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    next_attempt_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    lease_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    not_after: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """The message expires at this time and is not sent afterwards."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    slot: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Digest of the flow ticket or session whose code the message contains: a newer code there replaces this one."""
    code_number: Mapped[int | None] = mapped_column(BigInteger)
    """The order of the codes of one slot, as the code store issued them."""
    trouble: Mapped[str | None] = mapped_column(Text)
    """Why the last attempt failed: a short reason or an SMTP status, never the text of the server."""
