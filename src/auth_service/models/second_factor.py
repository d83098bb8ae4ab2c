"""Second factors: TOTP secrets and recovery codes (tables `second_factors` and `recovery_codes`)."""

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Integer, LargeBinary, func
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.db.base import Base


class SecondFactor(Base):
    """TOTP of a user, a pending enrolment of it, and the failed attempts; the secrets are encrypted.

    A user without TOTP and without a pending enrolment has no row.
    """

    __tablename__ = "second_factors"
    __table_args__ = (
        CheckConstraint("num_nulls(secret, confirmed_at, last_step) IN (0, 3)", name="totp_complete"),
        CheckConstraint("num_nulls(pending_secret, pending_session, pending_until) IN (0, 3)", name="pending_complete"),
        CheckConstraint("failures >= 0", name="failures_count"),
    )

    user_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The sealed TOTP secret; null while TOTP is off."""
    confirmed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_step: Mapped[int | None] = mapped_column(BigInteger)
    """The time step of the last accepted code (RFC 6238): an older or equal step is a replay."""
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    pending_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The sealed secret of an enrolment that no code has confirmed yet."""
    pending_session: Mapped[uuid.UUID | None]
    """The session that started the enrolment; no other session can finish it."""
    pending_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    failures: Mapped[int] = mapped_column(Integer, server_default="0")
    """Consecutive failed attempts at TOTP codes."""
    failed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class RecoveryCode(Base):
    """A recovery code of a user; only the digest is stored."""

    __tablename__ = "recovery_codes"
    __table_args__ = (CheckConstraint("octet_length(digest) = 32", name="digest_length"),)

    user_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    """SHA-256, which suffices for 120 random bits (ASVS 6.5.2)."""
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
