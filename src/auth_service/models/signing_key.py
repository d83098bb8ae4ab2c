"""Keys that sign access tokens: the next, the current, and those whose tokens are still about."""

from datetime import datetime

from sqlalchemy import CheckConstraint, DateTime, Index, LargeBinary, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.db.base import Base

NEXT, CURRENT, PREVIOUS = "next", "current", "previous"


class SigningKey(Base):
    """An ES256 key pair. The private half is sealed, and wiped once the key signs no more.

    `next` is published before it signs, so that verifiers which keep the key set for a while know it in time; then it
    is `current`; then `previous`, until the last token that it signed has expired. Partial unique indexes allow one
    next and one current key.
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
    """When the last token that this key signed has expired."""
