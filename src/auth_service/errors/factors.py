"""Errors of second factors: second step of a sign-in, TOTP, recovery codes."""

from typing import Annotated, Literal, NotRequired

from auth_service.errors.base import Conflict, Forbidden, NotFound, Unauthenticated, members

SecondStepMethod = Literal["totp", "passkey", "recovery_code"]


class SecondFactorRequired(Unauthenticated):
    """The first factor is verified, and the account requires a second one. No session is open yet.

    What the first factor has changed is committed, such as a rehashed password.
    """

    code = "second_factor_required"
    message = "The account needs a second factor; continue at `sign_in/second_step` with the ticket."
    commit_on_raise = True
    extra = members(
        ticket=NotRequired[Annotated[str, "For the second step; absent if it is set as a cookie."]],
        methods=Annotated[list[SecondStepMethod], "What the user can continue with; the one that was used last first."],
        expires_in=Annotated[int, "Seconds until the ticket expires."],
    )


class SecondFactorRejected(Unauthenticated):
    """The code of a second step is wrong, used or delayed: one error, so that it reveals nothing about the code.

    The failed attempt is committed (brute force).
    """

    code = "second_factor_rejected"
    message = "The code is not accepted; send a newer one, later if `attempts_left` is 0, or a recovery code."
    commit_on_raise = True
    extra = members(
        attempts_left=NotRequired[Annotated[int, "TOTP codes that can be tried without a delay; absent for others."]]
    )


class SecondStepExpired(Unauthenticated):
    """The ticket of a second step is malformed, expired or used, or the account has changed since it was issued."""

    code = "second_step_expired"
    message = "The ticket of the second step is no longer valid; sign in again."


class SecondFactorWrong(Forbidden):
    """The TOTP code or recovery code of a signed-in user is wrong, used or delayed. The attempt is committed."""

    code = "second_factor_wrong"
    message = "The code of the second factor is not accepted; send a newer one or a recovery code."


class TotpNotPending(NotFound):
    """This session has no enrolment of TOTP that waits for a code, or it has expired."""

    code = "totp_not_pending"
    message = "This session has no enrolment that waits for a code; begin a new one."


class TotpOn(Conflict):
    """TOTP is on, so that no second enrolment can begin."""

    code = "totp_on"
    message = "TOTP is on for this account; disable it before you enrol another app."


class SecondFactorNeeded(Conflict):
    """The account would have no second factor although a role requires one, or has none to make recovery codes for."""

    code = "second_factor_needed"
    message = "The account needs a second factor for this; add another one, then send this request again."


class SecondFactorResetUnavailable(Forbidden):
    """The user cannot reset the second factors: a role requires one, or `SECOND_FACTOR_RESET_SECONDS` is 0."""

    code = "second_factor_reset_unavailable"
    message = "The second factors of this account cannot be reset here; ask an administrator of the service."
