"""Errors of the account: password check, reauthentication, concurrent changes, account revert links."""

from auth_service.errors.base import Conflict, Forbidden, NotFound


class PasswordWrong(Forbidden):
    """The password of a signed-in user does not match. The failed attempt is committed (brute force)."""

    code = "password_wrong"
    message = "The password does not match; check it and send it again."


class ReauthenticationRequired(Forbidden):
    """The operation needs reauthentication: the password, a code, or a session opened by a code a short time ago."""

    code = "reauthentication_required"
    message = "This request needs reauthentication; send the password, or sign in again with an emailed code."


class PasswordNotSet(Conflict):
    """The account has no password to check."""

    code = "password_not_set"
    message = "This account has no password; set one with a password reset."


class EmailUnchanged(Conflict):
    """The requested address is the address of the account in the same spelling: no email is sent."""

    code = "email_unchanged"
    message = "This is the address of the account already; send another address or another spelling of it."


class AccountChanged(Conflict):
    """A concurrent request changed the password, the address or the status of the account (credential version)."""

    code = "account_changed"
    message = "Another request has changed the account; read it again, then repeat the request."


class UndoUnknown(NotFound):
    """The token of an account revert link is unknown, expired or used."""

    code = "undo_unknown"
    message = "This link has expired or was used; reset the password to secure the account."
