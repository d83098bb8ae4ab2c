"""Errors of the registration, of emailed codes and of invitations."""

from typing import Annotated

from auth_service.errors.base import Conflict, Forbidden, NotFound, RateLimited, members


class UserUnknown(NotFound):
    """No user has the email address or the id. Registration reveals this by its contract."""

    code = "user_unknown"
    message = "No user has this address or id; check it or sign up."


class EmailTaken(Conflict):
    """Another account has the address: on sign-up, on confirming a new address, or on restoring the old one."""

    code = "email_taken"
    message = "Another account uses this address; sign in to that account or use another address."


class MailAlreadyVerified(Conflict):
    """A code was requested for a user whose address is already confirmed."""

    code = "mail_already_verified"
    message = "The address of this user is already confirmed; continue with signing in."


class MailNotConfirmed(Conflict):
    """The request would finish a registration, but no code was confirmed with its flow ticket.

    The same error answers a repeated request more than an hour after the registration was finished.
    """

    code = "mail_not_confirmed"
    message = "The address is not confirmed; confirm it with an emailed code, then send this request again."


class PasswordAlreadySet(Conflict):
    """The registration is already finished, with another password. The failed attempt is committed (brute force)."""

    code = "password_already_set"
    message = "The registration is already finished, but not with this password; sign in or reset the password."
    commit_on_raise = True


class CodeWrong(NotFound):
    """An emailed code does not match. The failed attempt is committed (brute force)."""

    code = "code_wrong"
    message = "The code does not match; retry while `attempts_left` is above 0, otherwise request a new code."
    commit_on_raise = True
    extra = members(attempts_left=Annotated[int, "Attempts that remain for this code."])


class CodeExpired(NotFound):
    """No valid code for the request: expired, used, blocked by failed attempts, of another ticket, or never sent.

    One error for all of them, so that it reveals neither an account nor the state of a code (user enumeration).
    """

    code = "code_expired"
    message = "There is no valid code for this request; request a new code."
    commit_on_raise = True


class TooManyCodes(RateLimited):
    """A rate limit of codes (address, network, global limit) or the daily cap is exceeded."""

    code = "too_many_codes"
    message = "The limit of codes is reached; request the next code after `retry_after` seconds."


class RegistrationClosed(Forbidden):
    """`SIGN_UP` does not allow the request. The answer does not depend on the address (user enumeration)."""

    code = "registration_closed"
    message = "Registration is not open; ask those who run the portal for access."


class InvitationUnknown(NotFound):
    """No open invitation has the id or the token: unknown, used, revoked, or for a token also expired or replaced."""

    code = "invitation_unknown"
    message = "There is no such open invitation; ask for a new one."


class InvitationOpen(Conflict):
    """The address has an open invitation, which may have expired. Needs `id`."""

    extra = members(id=Annotated[str, "The id of the open invitation."])
    code = "invitation_open"
    message = "The address has an open invitation, its id is in `id`; send that one again, or revoke it first."
