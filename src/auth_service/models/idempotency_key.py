"""Idempotency keys: the stored answers of POST requests of administrators and services, replayed to a retry."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, DateTime, Index, LargeBinary, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.db.base import Base


class IdempotencyKey(Base):
    """The answer to the first request of a caller with an idempotency key, written in the transaction of its change."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        CheckConstraint("key ~ '^[A-Za-z0-9._-]{8,64}$'", name="key_form"),
        Index("ix_idempotency_keys_expires_at", "expires_at"),
    )

    caller: Mapped[str] = mapped_column(Text, primary_key=True)
    """`user:ID` or `service:KEY`."""
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    body_digest: Mapped[bytes] = mapped_column(LargeBinary)
    """SHA-256 of method, path and body: a different request with the same key is an error, not a replay."""
    answer: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """Status and body, without secrets."""
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
