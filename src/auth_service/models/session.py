"""Sessions: a user who is signed in on a device, with the refresh token counter (table `sessions`)."""

import uuid
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    Text,
    and_,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, INET
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.db.base import Base


class Session(Base):
    """A session, with the counter that decides which refresh token is valid.

    A refresh token consists of the session id, a counter and a MAC over both. The row contains only the counter of the
    next token, so no token can be derived from a leaked table.
    """

    __tablename__ = "sessions"
    __table_args__ = (
        CheckConstraint("counter >= 0", name="counter_counts"),
        CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name="ended_has_reason"),
        CheckConstraint("acr IN ('aal1', 'aal2')", name="acr_known"),
        CheckConstraint("method IN ('password', 'code', 'passkey', 'identity')", name="method_known"),
        CheckConstraint("transport IN ('bearer', 'cookie')", name="transport_known"),
        CheckConstraint("char_length(device) <= 256", name="device_length"),
        # Includes ended sessions: they are deleted with their user, and show whether the user has signed in before.
        Index("ix_sessions_user_id_opened_at", "user_id", "opened_at"),
        Index("ix_sessions_ended_at", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
        Index("ix_sessions_expires_at", "expires_at", postgresql_where=text("ended_at IS NULL")),
        Index(
            "uq_sessions_ticket_digest",
            "ticket_digest",
            unique=True,
            postgresql_where=text("ticket_digest IS NOT NULL"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"))
    counter: Mapped[int] = mapped_column(BigInteger, default=0)
    """The counter of the refresh token that has not been used yet, for reuse detection."""
    method: Mapped[str] = mapped_column(Text)
    acr: Mapped[str] = mapped_column(Text, server_default="aal1")
    """The authentication level of the session, `aal1` or `aal2` (RFC 9470)."""
    amr: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    """The authentication methods (RFC 8176). Null if the release before this column opened the session."""
    transport: Mapped[str] = mapped_column(Text)
    device: Mapped[str] = mapped_column(Text)
    """The device by its User-Agent, as users read it."""
    address: Mapped[str] = mapped_column(INET)
    """The IP address of the last refresh, or of the sign-in."""
    opened_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    authenticated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    """When the user last authenticated; sensitive operations require a recent authentication (step-up)."""
    refreshed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    idle_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """When the session expires unless it is refreshed."""
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """When the session expires even if it is refreshed."""
    ticket_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Digest of the flow ticket that opened the session: a ticket opens one session."""
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    end_reason: Mapped[str | None] = mapped_column(Text)

    @classmethod
    def is_live(cls) -> ColumnElement[bool]:
        """Build the condition that a session is neither revoked nor expired, by the clock of the database."""
        return and_(cls.ended_at.is_(None), cls.idle_at > func.now(), cls.expires_at > func.now())
