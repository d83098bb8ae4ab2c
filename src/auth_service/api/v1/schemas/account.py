"""Request and response models of the account: current user, email change, deletion, data export."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, WithJsonSchema, model_validator

from auth_service.api.http.schemas import ResponseModel
from auth_service.api.v1.schemas.fields import EXAMPLE_PASSWORD, Code, Email, Password, RequestModel, example
from auth_service.api.v1.schemas.login_history import EventKind
from auth_service.api.v1.schemas.sessions import Method
from auth_service.errors.fields import FieldInvalid, FieldReason
from auth_service.models.outbox_message import EmailKind

UserId = Annotated[int, Field(ge=1, le=2**53 - 1, examples=[308866])]


class MeResponse(ResponseModel):
    """The current user."""

    id: UserId
    email: str
    roles: list[str]
    permissions: Annotated[list[str], Field(description="The permissions of these roles.")]
    verified_mail: bool
    auth_time: Annotated[int, Field(description="When the user authenticated, in seconds since 1970.")]
    acr: Annotated[Literal["aal1", "aal2"], Field(description="The authentication level of the session (RFC 9470).")]
    amr: Annotated[
        list[Literal["pwd", "email", "fed", "otp", "recovery", "mfa", "hwk", "swk", "user"]],
        Field(description="The authentication methods of the session (RFC 8176)."),
    ]


Language = Literal["en", "ru"]


class ChangeLanguageRequest(RequestModel):
    """The language of the emails to the current user."""

    language: Language


class LanguageResponse(ResponseModel):
    """The language of the emails to the current user."""

    language: Language


class ChangeEmailRequest(RequestModel):
    """The new email address, with the password as reauthentication.

    An account without a password needs a session that an emailed code opened a short time ago.
    """

    model_config = example(email="new@sgfg.ru", password=EXAMPLE_PASSWORD)

    email: Email
    password: Annotated[
        Password | None,
        Field(description="Required if the account has one; without one, sign in with an emailed code shortly before."),
    ] = None


class ConfirmNewEmailRequest(RequestModel):
    """The code that was sent to the new address."""

    code: Code


class DeleteAccountRequest(RequestModel):
    """Reauthentication for the deletion of the account: the password, or the emailed deletion code."""

    model_config = example(password=EXAMPLE_PASSWORD)

    password: Annotated[Password | None, Field(description="The password; not together with `code`.")] = None
    code: Annotated[
        Code | None,
        Field(description="The emailed deletion code; not together with `password`."),
    ] = None

    @model_validator(mode="after")
    def _check_exclusive(self) -> Self:
        if self.password is not None and self.code is not None:
            raise FieldInvalid(FieldReason.EXCLUSIVE, "Send the password or the code, not both.")
        return self


class ExportedUserResponse(ResponseModel):
    """The user in a data export."""

    id: UserId
    email: str
    verified_mail: bool
    verified_at: datetime | None
    has_password: bool
    language: Language
    created_at: datetime


class ExportedSessionResponse(ResponseModel):
    """A session in a data export: active, expired or revoked."""

    id: uuid.UUID
    device: str
    address: str
    method: Method
    transport: Literal["bearer", "cookie"]
    opened_at: datetime
    last_used_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    end_reason: Annotated[str | None, Field(description="Why it ended; new reasons may be added.")]


class ExportedEventResponse(ResponseModel):
    """An audit event of the account in a data export."""

    at: datetime
    kind: EventKind
    outcome: Literal["success", "failure"]
    session_id: uuid.UUID | None
    by: Annotated[
        Literal["administrator", "service", "system"] | None,
        Field(description="Who acted on the account; null for its user."),
    ]
    device: str
    address: str | None
    details: dict[str, Any]


Kind = Annotated[
    str, WithJsonSchema({"type": "string", "enum": list(EmailKind), "description": "New kinds may be added."})
]
"""The kind of an email. A text at run time: the next release, which runs beside this one, may have another one."""


class ExportedEmailResponse(ResponseModel):
    """An email to the user in a data export. Its text is deleted once it is sent."""

    kind: Kind
    recipient: str
    language: Language
    state: Literal["waiting", "sent", "expired", "dead"]
    created_at: datetime
    ended_at: datetime | None


class ExportedPasskeyResponse(ResponseModel):
    """A passkey in a data export, without its public key."""

    id: uuid.UUID
    name: str
    aaguid: Annotated[uuid.UUID, Field(description="The model of the authenticator, as it claims.")]
    synced: Annotated[bool, Field(description="Whether the passkey can be synced to other devices.")]
    transports: list[str]
    created_at: datetime
    last_used_at: datetime | None


class ExportedEmailChangeResponse(ResponseModel):
    """A new email address in a data export that was requested and is not confirmed."""

    email: str
    created_at: datetime


class ExportedSecondFactorResponse(ResponseModel):
    """The second factors in a data export, without secrets."""

    totp_since: Annotated[datetime | None, Field(description="Null while TOTP is off.")]
    totp_last_used_at: datetime | None
    recovery_codes_left: int
    recovery_codes_since: datetime | None
    reset_due_at: Annotated[datetime | None, Field(description="When a requested reset takes effect.")]


class ExportResponse(ResponseModel):
    """The data export: everything that is stored about the current user, at most the newest 1000 records per list."""

    exported_at: datetime
    profile: ExportedUserResponse
    second_factor: ExportedSecondFactorResponse
    roles: list[str]
    sessions: list[ExportedSessionResponse]
    history: list[ExportedEventResponse]
    letters: list[ExportedEmailResponse]
    passkeys: list[ExportedPasskeyResponse]
    email_changes: list[ExportedEmailChangeResponse]
    complete: Annotated[bool, Field(description="False if a list was truncated to its newest 1000 records.")]
