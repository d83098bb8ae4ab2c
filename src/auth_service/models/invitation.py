"""Invitations: links by email with which a person creates a confirmed account (table `invitations`)."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, DateTime, Index, LargeBinary, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.db.base import Base


class Invitation(Base):
    """An invitation of an email address. Only the digest of the token in its link is stored.

    It is open until it is accepted or revoked; an open invitation that has expired can be sent again. An address has at
    most one open invitation.
    """

    __tablename__ = "invitations"
    __table_args__ = (
        CheckConstraint("num_nonnulls(accepted_at, revoked_at) <= 1", name="ends_once"),
        CheckConstraint("octet_length(digest) = 32", name="digest_length"),
        CheckConstraint("language IN ('en', 'ru')", name="language_known"),
        Index(
            "uq_invitations_open",
            "email_key",
            unique=True,
            postgresql_where=text("accepted_at IS NULL AND revoked_at IS NULL"),
        ),
        Index("ix_invitations_created_at_id", "created_at", "id"),
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
