"""The outbox: letters that wait to be sent, and a record of those that were."""

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.models.base import Base

WAITING, SENT, EXPIRED, DEAD = "waiting", "sent", "expired", "dead"


class Letter(Base):
    """A letter, written in the same transaction as its cause.

    `waiting` until it is `sent`, `expired` (its content was worth nothing any more) or `dead` (refused for good). Only
    a waiting letter has a payload, and that is encrypted.
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
        Index("ix_letters_ended_at", "ended_at", postgresql_where=text("state <> 'waiting'")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    dedup_key: Mapped[str] = mapped_column(Text, unique=True)
    """What the letter is about, once: the same cause written twice is one letter."""
    kind: Mapped[str] = mapped_column(Text)
    user_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="SET NULL"))
    recipient: Mapped[str] = mapped_column(Text)
    recipient_key: Mapped[str] = mapped_column(Text)
    """The normalised address, by which letters to one person are counted."""
    language: Mapped[str] = mapped_column(Text)
    payload: Mapped[bytes | None] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(Text, default=WAITING, server_default=WAITING)
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    next_attempt_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    lease_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    not_after: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """After this the letter is worth nothing and is not sent."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    trouble: Mapped[str | None] = mapped_column(Text)
    """Why the last attempt failed, in a word or an SMTP status; never the server's text."""
