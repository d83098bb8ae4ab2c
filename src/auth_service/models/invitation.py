"""Invitations: links by email with which a person creates a confirmed account (table `invitations`)."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.db.base import Base


class InvitationState(StrEnum):
    """The states of an invitation, computed from its times and the clock of the database."""

    OPEN = "open"
    EXPIRED = "expired"
    """Its link does not work any more. It can be sent again, and still keeps its address from a second invitation."""
    ACCEPTED = "accepted"
    REVOKED = "revoked"


class Invitation(Base):
    """An invitation of an email address. Only the digest of the token in its link is stored.

    It is open until it is accepted or revoked; an open invitation that has expired can be sent again. An address has at
    most one open invitation.
    """

    __tablename__ = "invitations"
    __table_args__ = (
        CheckConstraint("num_nonnulls(accepted_at, revoked_at) <= 1", name="ends_once"),
        CheckConstraint("(accepted_at IS NULL) = (user_id IS NULL)", name="accepted_by_user"),
        CheckConstraint("octet_length(digest) = 32", name="digest_length"),
        CheckConstraint("language IN ('en', 'ru')", name="language_known"),
        Index(
            "uq_invitations_open",
            "email_key",
            unique=True,
            postgresql_where=text("accepted_at IS NULL AND revoked_at IS NULL"),
        ),
        Index("ix_invitations_created_at_id", "created_at", "id"),
        Index("ix_invitations_ended_at", text("coalesce(accepted_at, revoked_at, expires_at)")),
        Index("ix_invitations_user_id", "user_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    email: Mapped[str] = mapped_column(Text)
    email_key: Mapped[str] = mapped_column(Text)
    """The normalised address."""
    language: Mapped[str] = mapped_column(Text)
    """The language of the email, and of the account."""
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text))
    """The roles that the account gets, if the inviter may still grant them when the invitation is accepted."""
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    invited_by: Mapped[str] = mapped_column(Text)
    """`user:ID`, `service:KEY` or `system:auth-service`."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    sent_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    """When its link was last sent."""
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    accepted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    user_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"))
    """The user who accepted it. The row contains the address, and so is deleted with the account."""
