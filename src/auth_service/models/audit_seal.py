"""Audit seals: signed digests of the audit log, one for each hour; digests of events before a person was removed."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.db.base import Base

DIGEST_LENGTH = "octet_length(digest) = 32"


class AuditSeal(Base):
    """The seal of one hour: it proves that no event of the hour was added, changed or removed afterwards.

    The database role of the service can add seals but not change them.
    """

    __tablename__ = "audit_seals"
    __table_args__ = (
        CheckConstraint("hour = date_trunc('hour', hour, 'UTC')", name="hour_whole"),
        CheckConstraint(DIGEST_LENGTH, name="digest_length"),
    )

    hour: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    rows: Mapped[int] = mapped_column(BigInteger)
    """How many events the hour has."""
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    """SHA-256 of the digest of the hour before and of the digests of the events, in the order of time and id."""
    seal: Mapped[str] = mapped_column(Text)
    """A JWT of these values, signed with the signing key."""


class ForgottenEvent(Base):
    """The digest of an event before the deletion of an account changed it: the seal of its hour stays valid."""

    __tablename__ = "events_forgotten"
    __table_args__ = (CheckConstraint(DIGEST_LENGTH, name="digest_length"),)

    event_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
