"""Signing keys of access tokens (JWT): next, current, and previous ones whose tokens are still valid."""

from datetime import datetime

from sqlalchemy import CheckConstraint, DateTime, Index, LargeBinary, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.db.base import Base

NEXT, CURRENT, PREVIOUS = "next", "current", "previous"


class SigningKey(Base):
    """An ES256 key pair. The private key is encrypted, and erased as soon as the key no longer signs.

    The `next` key is published before it signs, so that verifiers with a cached key set (JWKS) know it in time. Then it
    is `current`, and finally `previous` until the last token that it signed has expired. A partial unique index allows
    one next and one current key.
    """

    __tablename__ = "signing_keys"
    __table_args__ = (
        CheckConstraint("state IN ('next', 'current', 'previous')", name="state_known"),
        CheckConstraint("(state = 'previous') = (private_sealed IS NULL)", name="previous_cannot_sign"),
        CheckConstraint("(state = 'previous') = (retire_at IS NOT NULL)", name="previous_retires"),
        Index("uq_signing_keys_one_of_each", "state", unique=True, postgresql_where=text("state <> 'previous'")),
    )

    kid: Mapped[str] = mapped_column(Text, primary_key=True)
    state: Mapped[str] = mapped_column(Text)
    public_pem: Mapped[str] = mapped_column(Text)
    private_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    retire_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When the last token that this key signed expires."""
