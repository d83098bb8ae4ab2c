"""Account revert links and pending email changes (tables `undos`, `email_changes`)."""

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, Text, Uuid, func
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.db.base import Base

NEW_DEVICE, EMAIL_CHANGED = "new_device", "email_changed"


class RevertLink(Base):
    """A single-use link in a security notification, with which the user reverts an account takeover.

    Only the digest of its token is stored. `email` is the address that a link of the kind `email_changed` restores.
    """

    __tablename__ = "undos"
    __table_args__ = (
        CheckConstraint("kind IN ('new_device', 'email_changed')", name="kind_known"),
        CheckConstraint("(kind = 'email_changed') = (email IS NOT NULL)", name="email_where_it_changed"),
        CheckConstraint("(email IS NULL) = (email_key IS NULL)", name="email_has_key"),
        Index("ix_undos_user_id", "user_id"),
        Index("ix_undos_expires_at", "expires_at"),
    )

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"))
    email: Mapped[str | None] = mapped_column(Text)
    email_key: Mapped[str | None] = mapped_column(Text)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class PendingEmailChange(Base):
    """The new address that a session has requested for its account, until the code sent to it is verified."""

    __tablename__ = "email_changes"
    __table_args__ = (Index("ix_email_changes_user_id", "user_id"),)

    session_id: Mapped[uuid.UUID] = mapped_column(Uuid, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"))
    code_session_id: Mapped[uuid.UUID | None]
    """The session that the code was sent for, if a reauthentication has replaced it by `session_id` meanwhile."""
    email: Mapped[str] = mapped_column(Text)
    email_key: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
