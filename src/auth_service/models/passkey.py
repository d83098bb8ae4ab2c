"""Passkeys: WebAuthn credentials of users (table `passkeys`)."""

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, Text, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.db.base import Base


class Passkey(Base):
    """A passkey of a user (WebAuthn Level 3). The private key never leaves the authenticator of the user."""

    __tablename__ = "passkeys"
    __table_args__ = (
        CheckConstraint("octet_length(credential_id) BETWEEN 1 AND 1023", name="credential_id_length"),
        CheckConstraint("backup_eligible OR NOT backed_up", name="backup_possible"),
        CheckConstraint("octet_length(ticket_digest) = 32", name="ticket_digest_length"),
        Index("ix_passkeys_user_id", "user_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"))
    credential_id: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    """Unique over all users: a credential id identifies its user at the sign-in."""
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    """In COSE form."""
    sign_count: Mapped[int] = mapped_column(BigInteger)
    backup_eligible: Mapped[bool]
    """Whether the passkey can be synced between devices (flag BE); it never changes."""
    backed_up: Mapped[bool]
    """Whether the passkey is synced now (flag BS)."""
    transports: Mapped[list[str]] = mapped_column(ARRAY(Text))
    aaguid: Mapped[uuid.UUID]
    """The model of the authenticator; all zeros if it does not tell."""
    name: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    session_id: Mapped[uuid.UUID | None]
    """The session that added the passkey."""
    ticket_digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    """Digest of the flow ticket with the challenge: a challenge registers one passkey."""
