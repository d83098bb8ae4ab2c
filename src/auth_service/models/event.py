"""History: what happened to an account, written with the change itself and never changed again."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Identity, Index, Text, func
from sqlalchemy.dialects.postgresql import INET, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.models.base import Base

SUCCESS, FAILURE = "success", "failure"


class Event(Base):
    """One event: who, what, when, from where, on which device, with what outcome.

    Partitioned by month, so that what is old is dropped and not deleted row by row. There is no foreign key to users:
    the history of a deleted account stays, without saying whose it was.
    """

    __tablename__ = "events"
    __table_args__ = (
        CheckConstraint("outcome IN ('success', 'failure')", name="outcome_known"),
        CheckConstraint("char_length(device) <= 256", name="device_length"),
        Index("ix_events_user_id_id", "user_id", "id"),
        {"postgresql_partition_by": "RANGE (at)"},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True, server_default=func.now())
    user_id: Mapped[int | None] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(Text)
    session_id: Mapped[uuid.UUID | None]
    address: Mapped[str | None] = mapped_column(INET)
    device: Mapped[str] = mapped_column(Text, default="")
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
