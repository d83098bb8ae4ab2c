"""Settings of invitations: who may register, and how long an invitation is valid."""

from datetime import timedelta
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings

from auth_service.settings.types import PositiveSeconds, Rate, RateLimit


class InvitationSettings(BaseSettings):
    """Open or closed registration, and invitations."""

    sign_up: Literal["open", "invited", "closed"] = Field(
        "open",
        description="Who may register: with `open` every client, with `invited` only people who have an invitation, "
        "with `closed` no one. It also decides about registrations that began before.",
    )
    invitation_seconds: PositiveSeconds = Field(timedelta(days=7), description="Lifetime of the link in an invitation.")
    limit_invitations: RateLimit = Field(
        Rate("20/1h,200/1d"),
        description="Invitations that are created or sent again, for each user and each service key.",
    )
