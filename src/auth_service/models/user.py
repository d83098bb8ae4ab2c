"""Users: email address, verification, password hash and credential version (table `users`)."""

import secrets
from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    DateTime,
    Index,
    LargeBinary,
    Text,
    and_,
    case,
    func,
    literal_column,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.db.base import Base

HIGHEST_ID = 2**53 - 1
"""The largest integer that JavaScript represents exactly (`Number.MAX_SAFE_INTEGER`)."""


def random_id() -> int:
    """Draw a random user id: it reveals neither the number of users nor the next id (user enumeration)."""
    return secrets.randbelow(HIGHEST_ID) + 1


class UserStatus(StrEnum):
    """The status of a user, as administrators see it. It is always computed, never stored."""

    ACTIVE = "active"
    TEMPORARY = "temporary"
    """The address is not confirmed."""
    BANNED = "banned"
    LEAVING = "leaving"
    """In the deletion grace period."""


class User(Base):
    """A user, identified by an email address; temporary until the address is confirmed.

    A temporary user has no password and cannot sign in. So an attacker gains nothing by registering the address of
    a victim (account pre-hijacking): the victim requests a code and continues. A check constraint enforces this.
    """

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint(f"id BETWEEN 1 AND {HIGHEST_ID}", name="id_safe_in_javascript"),
        CheckConstraint("octet_length(email) <= 254", name="email_length"),
        CheckConstraint("verified_mail = (verified_at IS NOT NULL)", name="verified_has_instant"),
        CheckConstraint("verified_mail OR password_hash IS NULL", name="temporary_has_no_password"),
        CheckConstraint("language IN ('en', 'ru')", name="language_known"),
        CheckConstraint("num_nulls(banned_until, banned_at, ban_reason) IN (0, 3)", name="ban_complete"),
        Index("ix_users_temporary", "created_at", postgresql_where=text("NOT verified_mail")),
        Index("ix_users_created_at_id", "created_at", "id"),
        Index("ix_users_email_key_prefix", "email_key", postgresql_ops={"email_key": "text_pattern_ops"}),
        Index("ix_users_banned", "created_at", "id", postgresql_where=text("banned_until IS NOT NULL")),
        Index(
            "uq_users_webauthn_handle",
            "webauthn_handle",
            unique=True,
            postgresql_where=text("webauthn_handle IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False, default=random_id)
    email: Mapped[str] = mapped_column(Text)
    """The deliverable form, which emails are sent to."""
    email_key: Mapped[str] = mapped_column(Text, unique=True)
    """The normalised form, which is equal for all spellings of one address."""
    verified_mail: Mapped[bool] = mapped_column(default=False)
    verified_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    password_hash: Mapped[str | None] = mapped_column(Text)
    """In PHC form; no password matches None."""
    credential_version: Mapped[int] = mapped_column(default=0, server_default="0")
    """Incremented with each change of the password or the address. An emailed code is valid for one version."""
    factor_version: Mapped[int] = mapped_column(server_default="0")
    """Incremented with each change of the second factors: it ends trusted devices and sign-ins that began before."""
    webauthn_handle: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The random `user.id` of passkeys (WebAuthn); null until the first registration of a passkey begins."""
    language: Mapped[str] = mapped_column(Text)
    """The language of emails."""
    registration_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Digest of the flow ticket that completed the registration: a retry after a lost response is idempotent."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    banned_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """The end of the last ban, `infinity` for a ban without end; a time in the past means that the ban has expired."""
    banned_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ban_reason: Mapped[str | None] = mapped_column(Text)

    @classmethod
    def is_banned(cls) -> ColumnElement[bool]:
        """Build the condition that a ban of the user is in force, by the clock of the database; never null."""
        return and_(cls.banned_until.is_not(None), cls.banned_until > func.now())

    @classmethod
    def ban_ends_at(cls) -> ColumnElement[datetime | None]:
        """Build the end of a ban; null for one without end: the driver cannot represent `infinity`."""
        return func.nullif(cls.banned_until, literal_column("'infinity'::timestamptz"))

    @classmethod
    def status(cls) -> ColumnElement[str]:
        """Build the `UserStatus` of a user. A ban wins over an address that is not confirmed."""
        return case(
            (cls.is_banned(), literal_column(f"'{UserStatus.BANNED}'")),
            (cls.verified_mail, literal_column(f"'{UserStatus.ACTIVE}'")),
            else_=literal_column(f"'{UserStatus.TEMPORARY}'"),
        )
