"""Request models of user administration: bans, forced password resets, deletions."""

from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field

from auth_service.api.v1.schemas.fields import RequestModel, Trimmed
from auth_service.services.authorization import reasons

Reason = Annotated[
    str,
    Trimmed,
    Field(
        min_length=reasons.SHORTEST,
        max_length=reasons.LONGEST,
        description="One line for the audit log, without white space at its ends. The user can read it only for a ban.",
        examples=["Spam in the comments"],
    ),
    AfterValidator(reasons.one_line),
]


class BanRequest(RequestModel):
    """A ban."""

    reason: Reason
    until: Annotated[
        AwareDatetime | None,
        Field(
            description="The end of the ban, with its UTC offset: in the future, within a hundred years. "
            "Without it the ban has no end.",
            examples=["2099-01-01T00:00:00Z"],
        ),
    ] = None


class ForcePasswordResetRequest(RequestModel):
    """A forced password reset."""

    reason: Reason


class ResetSecondFactorRequest(RequestModel):
    """A reset of the second factors of a user."""

    reason: Reason


class DeleteUserRequest(RequestModel):
    """The deletion of a user."""

    reason: Reason
