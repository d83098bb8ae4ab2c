"""Sessions: somebody signed in on some device, until it ends."""

import uuid
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    DateTime,
    ForeignKey,
    Index,
    Text,
    and_,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import INET
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.db.base import Base


class Session(Base):
    """A session and the one counter that decides which refresh token is alive.

    Nothing in this row can be used as a token: a refresh token is the id, a counter and a MAC over both, and the row
    holds only the counter that comes next.
    """

    __tablename__ = "sessions"
    __table_args__ = (
        CheckConstraint("counter >= 0", name="counter_counts"),
        CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name="ended_has_reason"),
        CheckConstraint("method IN ('password', 'code')", name="method_known"),
        CheckConstraint("transport IN ('bearer', 'cookie')", name="transport_known"),
        CheckConstraint("char_length(device) <= 256", name="device_length"),
        # Also of those that have ended: they go with their user, and say whether there was one before.
        Index("ix_sessions_user_id_opened_at", "user_id", "opened_at"),
        Index("ix_sessions_ended_at", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
        Index("ix_sessions_expires_at", "expires_at", postgresql_where=text("ended_at IS NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"))
    counter: Mapped[int] = mapped_column(BigInteger, default=0)
    """The counter of the refresh token that has not been used yet."""
    method: Mapped[str] = mapped_column(Text)
    transport: Mapped[str] = mapped_column(Text)
    device: Mapped[str] = mapped_column(Text)
    """What the User-Agent says about the device, in words for its owner."""
    address: Mapped[str] = mapped_column(INET)
    """Where the session was last refreshed or opened from."""
    opened_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    authenticated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    """When its owner last proved who they are; what is dangerous needs this to be fresh."""
    refreshed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    idle_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """When it ends unless it is refreshed."""
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """When it ends whatever happens."""
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    end_reason: Mapped[str | None] = mapped_column(Text)

    @classmethod
    def is_live(cls) -> ColumnElement[bool]:
        """The condition under which a session counts, by the clock of the database."""
        return and_(cls.ended_at.is_(None), cls.idle_at > func.now(), cls.expires_at > func.now())
