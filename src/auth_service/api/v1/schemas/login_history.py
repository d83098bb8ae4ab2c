"""The cards of the history."""

import uuid
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from auth_service.api.http.schemas import ResponseModel
from auth_service.models.audit_event import EventType


class EventResponse(ResponseModel):
    """Something that happened to the account of the caller, or was tried in vain."""

    at: datetime
    kind: Annotated[str, Field(description="What happened; the list may grow.", examples=[EventType.SIGNED_IN.value])]
    outcome: Literal["success", "failure"]
    method: Annotated[str | None, Field(description="How somebody proved who they are, where they did.")]
    device: str
    address: str | None
    session_id: uuid.UUID | None
    current: Annotated[bool, Field(description="Whether it is about the session that asks.")]
