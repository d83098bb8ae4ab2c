"""The forms and cards of the account."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from auth_service.api.http.schemas import ResponseModel
from auth_service.api.v1.schemas.fields import Code, Email, RequestModel
from auth_service.api.v1.schemas.sessions import Password

UserId = Annotated[int, Field(ge=1, le=2**53 - 1)]


class MeResponse(ResponseModel):
    """The caller."""

    id: UserId
    email: str
    roles: list[str]
    verified_mail: bool


class NewEmailRequest(RequestModel):
    """The address that is wanted, and the password; an account without one needs a sign-in by code just before."""

    email: Email
    password: Annotated[
        Password | None,
        Field(description="Absent for an account without a password, a short time after its sign-in by code."),
    ] = None


class NewEmailCodeRequest(RequestModel):
    """The code that was mailed to the new address."""

    code: Code


class DeletionRequest(RequestModel):
    """The password, or the code that was mailed for this."""

    password: Annotated[Password | None, Field(description="The password, where no code is sent.")] = None
    code: Annotated[
        Code | None,
        Field(description="The emailed deletion code, as a string or as an integer, where no password is sent."),
    ] = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.password is not None and self.code is not None:
            raise ValueError("Send the password or the code, not both.")
        return self


class ProfileResponse(ResponseModel):
    """The account itself."""

    id: UserId
    email: str
    verified_mail: bool
    verified_at: datetime | None
    has_password: bool
    language: Literal["en", "ru"]
    created_at: datetime


class ExportedSessionResponse(ResponseModel):
    """A session, living or ended."""

    id: uuid.UUID
    device: str
    address: str
    method: str
    transport: str
    opened_at: datetime
    last_used_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    end_reason: str | None


class ExportedEventResponse(ResponseModel):
    """Something that happened to the account."""

    at: datetime
    kind: str
    outcome: Literal["success", "failure"]
    session_id: uuid.UUID | None
    device: str
    address: str | None
    details: dict[str, Any]


class ExportedLetterResponse(ResponseModel):
    """The record of a letter; what it said is not kept."""

    kind: str
    recipient: str
    language: str
    state: Literal["waiting", "sent", "expired", "dead"]
    created_at: datetime
    ended_at: datetime | None


class ExportedEmailChangeResponse(ResponseModel):
    """An address that a session wants for the account."""

    email: str
    created_at: datetime


class ExportResponse(ResponseModel):
    """Everything that is kept about the caller; each list holds its newest thousand at most."""

    exported_at: datetime
    profile: ProfileResponse
    roles: list[str]
    sessions: list[ExportedSessionResponse]
    history: list[ExportedEventResponse]
    letters: list[ExportedLetterResponse]
    email_changes: list[ExportedEmailChangeResponse]
    complete: Annotated[bool, Field(description="False where a list was longer than what is shown of it.")]
