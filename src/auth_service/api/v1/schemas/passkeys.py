"""Request and response models of passkeys."""

import uuid
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from auth_service.api.http.schemas import ResponseModel
from auth_service.api.v1.schemas.fields import RequestModel, SealedTicket, Seconds
from auth_service.api.v1.schemas.sign_in import Transport
from auth_service.api.v1.schemas.webauthn import (
    CreationOptionsResponse,
    CredentialRequest,
    RegistrationCredentialRequest,
    RequestOptionsResponse,
)
from auth_service.errors.fields import FieldInvalid, FieldReason
from auth_service.invisible_characters import trimmed

MAX_NAME = 64

OptionalTicket = Annotated[
    SealedTicket | None, Field(description="The `ticket` that came with the options. Absent if it is in a cookie.")
]


def _checked_name(value: str) -> str:
    name = trimmed(value)
    if not name:
        raise FieldInvalid(FieldReason.TOO_SHORT, "Send a name with a visible character.")
    if not name.isprintable():
        raise FieldInvalid(FieldReason.CONTROL_CHARACTERS, "Send a name without control characters.")
    return name


PasskeyName = Annotated[
    str,
    Field(min_length=1, max_length=MAX_NAME, examples=["Work laptop"]),
    AfterValidator(_checked_name),
]


class RegisterPasskeyRequest(RequestModel):
    """A new passkey."""

    credential: RegistrationCredentialRequest
    ticket: OptionalTicket = None
    name: Annotated[
        PasskeyName | None, Field(description="For the list of passkeys; the provider or the device by default.")
    ] = None


class PasskeyRequest(RequestModel):
    """An authentication with a passkey, in a session or after a first step."""

    credential: CredentialRequest
    ticket: OptionalTicket = None


class PasskeySignInRequest(PasskeyRequest):
    """An authentication with a passkey that signs in."""

    transport: Transport = "bearer"


class SecondStepPasskeyOptionsRequest(RequestModel):
    """The ticket of the first step."""

    ticket: Annotated[
        SealedTicket | None, Field(description="The `ticket` of the first step. Absent if it is in a cookie.")
    ] = None


class RenamePasskeyRequest(RequestModel):
    """A new name of a passkey."""

    name: PasskeyName


_TICKET = "Send it with the credential. Absent if it is set as a cookie."


class PasskeyCreationResponse(ResponseModel):
    """The options of a new passkey, and the flow ticket with their challenge."""

    leaves_out_none: ClassVar[bool] = True

    options: Annotated[
        CreationOptionsResponse, Field(description="For `PublicKeyCredential.parseCreationOptionsFromJSON()`.")
    ]
    ticket: Annotated[str | None, Field(description=_TICKET)] = None
    expires_in: Annotated[Seconds, Field(description="Seconds until the ticket expires.", examples=[300])]


class PasskeyChallengeResponse(ResponseModel):
    """The options of an authentication with a passkey, and the flow ticket with their challenge."""

    leaves_out_none: ClassVar[bool] = True

    options: Annotated[
        RequestOptionsResponse, Field(description="For `PublicKeyCredential.parseRequestOptionsFromJSON()`.")
    ]
    ticket: Annotated[str | None, Field(description=_TICKET)] = None
    expires_in: Annotated[Seconds, Field(description="Seconds until the ticket expires.", examples=[300])]


class SignalResponse(ResponseModel):
    """What `PublicKeyCredential.signalAllAcceptedCredentials()` takes, in its order."""

    rp_id: str
    user_handle: str
    credential_ids: list[str]


class PasskeyResponse(ResponseModel):
    """A passkey of the current user."""

    id: uuid.UUID
    name: str
    provider: Annotated[
        str | None, Field(description="The password manager or the authenticator, as it claims; null if unknown.")
    ]
    synced: Annotated[bool, Field(description="Whether the passkey can be synced to other devices.")]
    created_at: datetime
    last_used_at: datetime | None


class RegisteredPasskeyResponse(PasskeyResponse):
    """A new passkey; in a restricted session also the tokens of a new session, and recovery codes."""

    leaves_out_none: ClassVar[bool] = True

    signal: SignalResponse
    access_token: Annotated[
        str | None, Field(description="Only in a restricted session. Absent if the tokens are set as cookies.")
    ] = None
    token_type: Annotated[Literal["Bearer"] | None, Field(description="Only in a restricted session.")] = None
    expires_in: Annotated[
        Seconds | None,
        Field(description="Only in a restricted session: seconds until the access token expires.", examples=[900]),
    ] = None
    refresh_token: Annotated[
        str | None, Field(description="Only in a restricted session. Absent if the tokens are set as cookies.")
    ] = None
    recovery_codes: Annotated[
        list[str] | None, Field(description="Only in a restricted session: shown once, each works once.")
    ] = None


class PasskeyRemovedResponse(ResponseModel):
    """The passkeys that remain, for the passkey provider."""

    signal: SignalResponse
