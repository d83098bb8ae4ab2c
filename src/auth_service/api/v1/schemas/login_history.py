"""Response models of the login history (audit events of the current user)."""

import uuid
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from auth_service.api.http.schemas import ResponseModel
from auth_service.models.audit_event import EventType

EVENT_KIND = WithJsonSchema(
    {
        "type": "string",
        "enum": list(EventType),
        "description": "The type of the event; new types may be added.",
        "examples": [EventType.SIGNED_IN],
    }
)
EventKind = Annotated[str, EVENT_KIND]
"""The type of an event. A text at run time: the next release, which runs beside this one, may have another one."""


class EventResponse(ResponseModel):
    """An audit event of the current user: a success or a failed attempt."""

    at: datetime
    kind: EventKind
    outcome: Literal["success", "failure"]
    method: Annotated[str | None, Field(description="The sign-in method, for events of a sign-in.")]
    by: Annotated[
        Literal["administrator", "service", "system"] | None,
        Field(
            description="Who acted on the account; null for its user. Others have no `device` and no `address` here."
        ),
    ]
    device: str
    address: str | None
    session_id: uuid.UUID | None
    current: Annotated[bool, Field(description="Whether the event belongs to the session of this request.")]
