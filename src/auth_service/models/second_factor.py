"""Second factors: TOTP, recovery codes, delayed resets (`second_factors`, `recovery_codes`, `second_factor_resets`)."""

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, Integer, LargeBinary, func
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


class DelayedReset(Base):
    """A reset of the second factors that a user has requested, until it takes effect or is cancelled.

    It is void as soon as the credentials or the second factors of the account have changed: the versions are those of
    the request.
    """

    __tablename__ = "second_factor_resets"
    __table_args__ = (
        CheckConstraint("next_at <= effective_at", name="next_before_effect"),
        CheckConstraint("octet_length(cancel_digest) = 32", name="cancel_digest_length"),
        Index("ix_second_factor_resets_next_at", "next_at"),
    )

    user_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    id: Mapped[uuid.UUID]
    """The token of the cancel link is derived from it, so that each email of the reset can contain the link."""
    effective_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    next_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    """When the mail worker continues: before `effective_at` with the second email, at `effective_at` with the reset."""
    cancel_digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    """Keyed digest of the token of the cancel link."""
    credential_version: Mapped[int]
    factor_version: Mapped[int]
