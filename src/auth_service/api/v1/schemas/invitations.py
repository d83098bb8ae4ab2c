"""Request and response models of the links of invitations."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from auth_service.api.http.schemas import ResponseModel
from auth_service.api.v1.schemas.fields import LinkToken, NewPassword, RequestModel


class ReadInvitationRequest(RequestModel):
    """The token of the link of an invitation."""

    token: LinkToken


class AcceptInvitationRequest(ReadInvitationRequest):
    """The token, and the password of the new user; without one, the user signs in with emailed codes."""

    password: NewPassword | None = None


class ReadInvitationResponse(ResponseModel):
    """An invitation, as the invited person sees it."""

    email: Annotated[str, Field(examples=["ada@example.org"])]
    roles: Annotated[list[str], Field(description="The roles that the inviter chose.", examples=[["ROLE_EDITOR"]])]
    expires_at: datetime
