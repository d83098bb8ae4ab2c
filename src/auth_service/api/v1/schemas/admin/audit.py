"""Request and response models of the audit log for auditors."""

import re
import uuid
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BeforeValidator, Field, PlainValidator, WithJsonSchema

from auth_service.api.http.schemas import ResponseModel
from auth_service.api.v1.schemas.fields import RequestModel
from auth_service.api.v1.schemas.login_history import EVENT_KIND, EventKind
from auth_service.api.v1.schemas.pagination import DEFAULT_PAGE_SIZE, PageCursor, PageSize
from auth_service.errors.fields import FieldInvalid, FieldReason
from auth_service.models.audit_event import EventType
from auth_service.services.audit.search import USER, AuditFilters, Party

ACTOR = re.compile(r"user:[1-9][0-9]{0,15}|(?:service|system):[A-Za-z0-9._-]{1,64}", re.ASCII)
TARGET = re.compile(r"(?!user:(?![1-9][0-9]{0,15}$))[a-z_]{1,32}:[^\x00-\x1f\x7f]{1,200}", re.ASCII)
TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def _party(pattern: re.Pattern[str], example: str) -> Any:
    """Return a validator of `type:id`."""

    def parse(value: Any) -> Party:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise FieldInvalid(FieldReason.MALFORMED, f"Send a type and an id, such as {example}.")
        kind, _, identifier = value.partition(":")
        return Party(kind, identifier)

    return PlainValidator(parse)


def _action(value: Any) -> str:
    try:
        return EventType(value).value
    except ValueError:
        message = "Send one of the actions that `GET /admin/audit/actions` lists."
        raise FieldInvalid(FieldReason.UNKNOWN_VALUE, message) from None


def _time(value: Any) -> datetime:
    """Parse a time of RFC 3339: pydantic would also read a number as seconds, and a time without an offset."""
    with suppress(ValueError):
        if isinstance(value, str) and TIME.fullmatch(value):
            return datetime.fromisoformat(value.upper())
    raise FieldInvalid(FieldReason.MALFORMED, "Send a time with its offset, such as 2026-07-01T00:00:00Z.")


def _text(description: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "description": f"{description}, such as `{example}`."})


Time = Annotated[AwareDatetime, BeforeValidator(_time)]

Pair = Annotated[list[Any], Field(min_length=2, max_length=2)]
"""A value before and after a change."""


class AuditFilterQuery(RequestModel):
    """The query string of an export: filters, all of which have to match, and a cursor."""

    actor: (
        Annotated[
            Party,
            _party(ACTOR, "user:4711 or service:f3a91c0d27be"),
            _text("Who acted: `user:ID`, `service:KEY` or `system:NAME`", "user:4711"),
        ]
        | None
    ) = None
    target: (
        Annotated[
            Party,
            _party(TARGET, "user:4711 or role:ROLE_EDITOR"),
            _text("What the event is about: `user:ID`, `role:NAME` and so on", "role:ROLE_EDITOR"),
        ]
        | None
    ) = None
    action: Annotated[str, BeforeValidator(_action), EVENT_KIND] | None = None
    outcome: Literal["success", "failure"] | None = None
    since: Annotated[Time, _text("The earliest time", "2026-07-01T00:00:00Z")] | None = Field(None, alias="from")
    until: Annotated[Time, _text("The first time that is too late", "2026-08-01T00:00:00Z")] | None = Field(
        None, alias="to"
    )
    cursor: PageCursor | None = None

    def filters(self) -> AuditFilters:
        """Return the filters."""
        return AuditFilters(
            actor=self.actor,
            target=self.target,
            action=self.action,
            outcome=self.outcome,
            since=self.since,
            until=self.until,
        )


class AuditQuery(AuditFilterQuery):
    """The query string of a page of audit events."""

    limit: PageSize = DEFAULT_PAGE_SIZE


class PartyResponse(ResponseModel):
    """An actor or a target."""

    type: Annotated[str, Field(examples=[USER])]
    id: str | None


class AuditRecordResponse(ResponseModel):
    """An audit event as auditors see it."""

    id: int
    at: datetime
    action: EventKind
    outcome: Literal["success", "failure"]
    actor: Annotated[
        PartyResponse,
        Field(description="Who acted: a `user`, a `service`, the `system` or its operator, or an `anonymous` client."),
    ]
    target: Annotated[PartyResponse, Field(description="What the event is about. The `id` of a deleted user is null.")]
    address: str | None
    device: str
    session_id: uuid.UUID | None
    request_id: Annotated[str | None, Field(description="The `X-Request-Id` of the request; null for a command.")]
    changes: Annotated[dict[str, Pair], Field(description="The value of each changed field before and after.")]
    reason: Annotated[str | None, Field(description="The reason that the actor gave, or the error code of a denial.")]


class ActionResponse(ResponseModel):
    """A type of audit events."""

    action: EventKind
    description: str
