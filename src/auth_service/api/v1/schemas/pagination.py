"""Pagination parameters of list endpoints: `cursor` and `limit`."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from auth_service.api.http.parsing import INTEGER
from auth_service.api.v1.schemas.fields import RequestModel, Trimmed

MAX_PAGE_SIZE = 50
DEFAULT_PAGE_SIZE = 20
MAX_DIGITS = 9
"""Bounds the conversion. A longer number is no integer for the field error."""


def _page_size(value: Any) -> Any:
    """Convert a decimal integer of the query string. `int` alone would also accept `+5`, `1_0` or non-ASCII digits."""
    if isinstance(value, str) and len(value) <= MAX_DIGITS and re.fullmatch(INTEGER, value):
        return int(value)
    return value


PageSize = Annotated[
    int,
    BeforeValidator(_page_size),
    Field(ge=1, le=MAX_PAGE_SIZE),
    WithJsonSchema(
        {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_PAGE_SIZE,
            "description": f"The maximum number of items per page; {DEFAULT_PAGE_SIZE} by default.",
        }
    ),
]
PageCursor = Annotated[
    str,
    Trimmed,
    Field(min_length=1, max_length=256, description="The `next_cursor` of the previous page, unchanged."),
]


class PageQuery(RequestModel):
    """The query string of a list endpoint."""

    cursor: PageCursor | None = None
    limit: PageSize = DEFAULT_PAGE_SIZE
