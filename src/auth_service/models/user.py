"""People: an address, whether it was confirmed, and perhaps a password."""

import secrets
from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Index, LargeBinary, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.db.base import Base

HIGHEST_ID = 2**53 - 1
"""The largest integer that JavaScript keeps exact."""


def random_id() -> int:
    """Draw an id that tells nothing about how many users there are or who comes next."""
    return secrets.randbelow(HIGHEST_ID) + 1


class User(Base):
    """Somebody known by an address; temporary until the address is confirmed.

    A temporary user has no password and nothing else to sign in with, so an address that a stranger squats is worth
    nothing: its owner asks for a code and goes on. A check constraint says so.
    """

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint(f"id BETWEEN 1 AND {HIGHEST_ID}", name="id_safe_in_javascript"),
        CheckConstraint("octet_length(email) <= 254", name="email_length"),
        CheckConstraint("verified_mail = (verified_at IS NOT NULL)", name="verified_has_instant"),
        CheckConstraint("verified_mail OR password_hash IS NULL", name="temporary_has_no_password"),
        CheckConstraint("language IN ('en', 'ru')", name="language_known"),
        Index("ix_users_temporary", "created_at", postgresql_where=text("NOT verified_mail")),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False, default=random_id)
    email: Mapped[str] = mapped_column(Text)
    """The deliverable form: the one that letters are sent to."""
    email_key: Mapped[str] = mapped_column(Text, unique=True)
    """The normalised form: two addresses that reach the same person compare equal by it."""
    verified_mail: Mapped[bool] = mapped_column(default=False)
    verified_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    password_hash: Mapped[str | None] = mapped_column(Text)
    """A PHC string; None cannot be matched by any password."""
    credential_version: Mapped[int] = mapped_column(default=0, server_default="0")
    """Grows with every change of the password or the address; a code that was mailed is about one version."""
    language: Mapped[str] = mapped_column(Text)
    """The language of letters."""
    registration_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Digest of the ticket that finished the registration, so that its holder may ask again after a lost answer."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
