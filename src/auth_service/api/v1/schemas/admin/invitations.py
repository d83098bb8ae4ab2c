"""Request and response models of the administration of invitations."""

import uuid
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from auth_service.api.http.schemas import ResponseModel
from auth_service.api.v1.schemas.account import Language
from auth_service.api.v1.schemas.fields import Email, RequestModel, Seconds
from auth_service.api.v1.schemas.pagination import PageQuery
from auth_service.api.v1.schemas.roles import RoleName
from auth_service.models.invitation import InvitationState


class CreateInvitationRequest(RequestModel):
    """The address of a person, and the roles that the person gets with the acceptance."""

    email: Email
    roles: Annotated[
        list[RoleName],
        Field(max_length=1000, description="At most 19, besides `ROLE_PORTAL_USER`, which every user gets."),
    ] = Field(default_factory=list)
    language: Annotated[
        Language | None,
        Field(description="The language of the email and of the account; that of `Accept-Language` if it is absent."),
    ] = None


class InvitationsQuery(PageQuery):
    """The query string of the list of invitations."""

    state: Annotated[
        Literal["open", "expired", "accepted", "revoked"] | None,
        Field(description="Only invitations in this state: `open`, `expired`, `accepted` or `revoked`."),
    ] = None


class InvitationResponse(ResponseModel):
    """An invitation."""

    id: uuid.UUID
    email: Annotated[str, Field(examples=["ada@example.org"])]
    roles: Annotated[list[str], Field(examples=[["ROLE_EDITOR"]])]
    state: Annotated[
        InvitationState,
        Field(description="`expired`: the link does not work any more; the invitation can be sent again."),
    ]
    expires_at: datetime


class InvitationSentResponse(ResponseModel):
    """The times of an invitation that was sent again, in whole seconds rounded up."""

    expires_in: Annotated[Seconds, Field(description="Seconds until the link expires.", examples=[604800])]
    resend_after: Annotated[Seconds, Field(description="Seconds until it can be sent again.", examples=[0])]
