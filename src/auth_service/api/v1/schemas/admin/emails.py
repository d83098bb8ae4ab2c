"""Request and response models of the email outbox for administrators."""

import uuid
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from auth_service.api.http.schemas import ResponseModel
from auth_service.api.v1.schemas.account import Kind, UserId
from auth_service.api.v1.schemas.pagination import PageQuery

State = Literal["waiting", "sent", "expired", "dead"]


class EmailsQuery(PageQuery):
    """The state of the emails, and the page."""

    state: State | None = None


class EmailResponse(ResponseModel):
    """An email of the outbox, without its content and without its recipient."""

    id: uuid.UUID
    kind: Kind
    state: Annotated[
        State,
        Field(description="`expired`: withdrawn or too old to be sent. `dead`: rejected for good."),
    ]
    attempts: Annotated[int, Field(ge=0)]
    user_id: Annotated[UserId | None, Field(description="Null if the user was deleted or the address has none.")]
    created_at: datetime
    ended_at: datetime | None
    next_attempt_at: Annotated[datetime | None, Field(description="Null once the email has ended.")]
    reason: Annotated[str | None, Field(description="Why the last attempt failed, for example an SMTP status.")]
