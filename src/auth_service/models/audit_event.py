"""History: what happened to an account, written with the change itself and never changed again."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Identity, Index, Text, func, text
from sqlalchemy.dialects.postgresql import INET, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.db.base import Base

SUCCESS, FAILURE = "success", "failure"


class EventType(StrEnum):
    """What can happen to an account. No constraint of the table: two releases that run side by side may know others."""

    sentence: str
    """What it means, for people who read the history."""

    def __new__(cls, value: str, sentence: str = "") -> Self:
        """A kind is its name, and has a sentence."""
        made = str.__new__(cls, value)
        made._value_ = value
        made.sentence = sentence
        return made

    REGISTERED = (
        "registered",
        "The user confirmed the address and finished the registration; `method` `import`: in another system.",
    )
    SIGNED_IN = "signed_in", "A session was opened; `method` says how."
    SIGN_IN_REFUSED = "sign_in_refused", "A sign-in failed; `method` says how it was tried."
    SIGNED_OUT = "signed_out", "The user signed out of this session."
    SESSION_ENDED = "session_ended", "A session was revoked; `reason` says why."
    REFRESH_REUSED = "refresh_reused", "A used refresh token was used again (replay); its session was revoked."
    PASSWORD_REFUSED = "password_refused", "A signed-in client sent a wrong password; `purpose` says what for."
    CODE_REFUSED = "code_refused", "A signed-in client sent a wrong or expired code; `purpose` says what for."
    PASSWORD_CHANGED = "password_changed", "The password was changed with the current password."
    PASSWORD_RECOVERED = "password_recovered", "The password was reset with an emailed code."
    RECOVERY_REFUSED = "recovery_refused", "A password reset failed because of a wrong or expired code."
    EMAIL_CHANGE_ASKED = (
        "email_change_asked",
        "A change of the address was requested; a code was sent to the new address.",
    )
    EMAIL_CHANGED = "email_changed", "The address of the account was changed."
    EMAIL_CHANGED_UNDONE = (
        "email_changed_undone",
        "A change of the address was reverted with the link of the security notification.",
    )
    NEW_DEVICE_UNDONE = (
        "new_device_undone",
        "A sign-in was reverted with the link of the security notification about a new device.",
    )
    DATA_EXPORTED = "data_exported", "The data of the account was exported."
    ACCOUNT_DELETED = (
        "account_deleted",
        "The account was deleted; its audit events stay without user, address and device.",
    )
    ACCESS_DENIED = (
        "access_denied",
        "A signed-in client was denied access; `refusal` is the error code.",
    )


class Event(Base):
    """One event: who, what, when, from where, on which device, with what outcome.

    Partitioned by month, so that what is old is dropped and not deleted row by row. There is no foreign key to users:
    the history of a deleted account stays, without saying whose it was. The role of the service can only add rows, and
    the database says when they were written.
    """

    __tablename__ = "events"
    __table_args__ = (
        CheckConstraint("outcome IN ('success', 'failure')", name="outcome_known"),
        CheckConstraint("char_length(device) <= 256", name="device_length"),
        Index("ix_events_user_id_id", "user_id", "id"),
        # Nobody is 0 here, so that the failures of somebody and of nobody are found in the same way.
        Index("ix_events_failures", text("coalesce(user_id, 0)"), "at", postgresql_where=text("outcome = 'failure'")),
        {"postgresql_partition_by": "RANGE (at)"},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True, server_default=func.now())
    user_id: Mapped[int | None] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(Text)
    """One of `EventType`."""
    outcome: Mapped[str] = mapped_column(Text)
    session_id: Mapped[uuid.UUID | None]
    address: Mapped[str | None] = mapped_column(INET)
    device: Mapped[str] = mapped_column(Text, default="")
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
