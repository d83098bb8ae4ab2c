"""Which page of a list is asked for."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from auth_service.api.http.parsing import INTEGER
from auth_service.api.v1.schemas.fields import RequestModel

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
            "description": f"How many items a page has at most, {USUAL} if it is not given.",
        }
    ),
]
Position = Annotated[
    str,
    Field(min_length=1, max_length=256, description="The `next_cursor` of the page before, as it was given."),
]


class PageQuery(RequestModel):
    """Which page of a list."""

    cursor: Position | None = None
    limit: PageSize = USUAL
