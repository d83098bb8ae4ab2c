"""Service keys: API keys of other services, with scopes and expiry."""

from datetime import datetime

from sqlalchemy import CheckConstraint, DateTime, Index, LargeBinary, Text, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.db.base import Base

INTROSPECT, VERIFY, SUPPLY_CODE = "tokens:introspect", "sessions:verify", "registration:code"
SCOPES = (INTROSPECT, VERIFY, SUPPLY_CODE)
"""The scopes that only service keys have; every permission is a scope too."""


class ServiceKey(Base):
    """An API key of a service. Only a digest of its secret is stored: with 256 random bits it needs no slow hash.

    The id is the public part of the key, which may be shown: in lists, and to identify a leaked key.
    """

    __tablename__ = "service_keys"
    __table_args__ = (
        CheckConstraint("id ~ '^[0-9a-f]{12}$'", name="id_form"),
        CheckConstraint("name ~ '^[a-z0-9][a-z0-9-]{0,39}$'", name="name_form"),
        CheckConstraint("octet_length(digest) = 32", name="digest_length"),
        CheckConstraint("cardinality(scopes) > 0", name="scopes_given"),
        CheckConstraint(
            r"array_to_string(scopes, ' ') ~ '^[a-z][a-z0-9_]{0,31}:[a-z][a-z0-9_]{0,31}"
            r"( [a-z][a-z0-9_]{0,31}:[a-z][a-z0-9_]{0,31})*$'",
            name="scopes_form",
        ),
        CheckConstraint("expires_at > created_at", name="lives"),
        Index("ix_service_keys_name", "name"),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """Updated at most once a minute, so that few requests write."""
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
