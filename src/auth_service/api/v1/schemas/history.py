"""The query and the cards of the history."""

import re
import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from auth_service.api.cards import Card
from auth_service.api.parsing import INTEGER
from auth_service.api.v1.schemas.fields import Form
from auth_service.models.event import Kind

MOST = 50
USUAL = 20
LONGEST = 3


def _count(value: Any) -> Any:
    """A number as a query string has it, in its one spelling, and nothing else that Python would take for a number."""
    if isinstance(value, str) and len(value) <= LONGEST and re.fullmatch(INTEGER, value):
        return int(value)
    return value


PageSize = Annotated[
    int,
    BeforeValidator(_count),
    Field(ge=1, le=MOST),
    WithJsonSchema(
        {
            "type": "integer",
            "minimum": 1,
            "maximum": MOST,
            "description": f"How many events a page has at most, {USUAL} if it is not given.",
        }
    ),
]
Position = Annotated[
    str,
    Field(min_length=1, max_length=256, description="The `next_cursor` of the page before, as it was given."),
]


class HistoryQuery(Form):
    """Which page of the history."""

    cursor: Position | None = None
    limit: PageSize = USUAL


class EventCard(Card):
    """Something that happened to the account of the caller, or was tried in vain."""

    at: datetime
    kind: Annotated[str, Field(description="What happened; the list may grow.", examples=[Kind.SIGNED_IN.value])]
    outcome: Literal["success", "failure"]
    method: Annotated[str | None, Field(description="How somebody proved who they are, where they did.")]
    device: str
    address: str | None
    session_id: uuid.UUID | None
    current: Annotated[bool, Field(description="Whether it is about the session that asks.")]
