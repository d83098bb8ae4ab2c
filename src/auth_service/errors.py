"""Refusals: every way in which the service says no, without a word of HTTP.

A refusal is one class. Its name in snake case is the stable `error.code`, its docstring is the sentence that the client
reads and the line on the Swagger page, its kind decides the status (`auth_service.api.envelope.STATUS`).
"""

import re
from typing import Any, ClassVar


class Refusal(Exception):
    """The service refuses."""

    keeps_work: ClassVar[bool] = False
    """Whether what the unit of work wrote so far is committed although the request is refused."""

    def __init__(self, *, retry_after: float | None = None, **members: Any) -> None:
        """`members` join the error object of the answer; `retry_after`, in seconds, also becomes a header."""
        super().__init__(self.sentence())
        self.retry_after = retry_after
        self.members = members

    @classmethod
    def code(cls) -> str:
        """The stable name that programs compare: the class name in snake case."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    @classmethod
    def sentence(cls) -> str:
        """The sentence for people: the first line of the docstring."""
        return (cls.__doc__ or "").strip().split("\n", 1)[0]


# The kinds. Each stands for one status; the table is in the floor that speaks HTTP.


class Malformed(Refusal):
    """The request could not be read."""


class Unauthenticated(Refusal):
    """Who are you?"""


class Forbidden(Refusal):
    """This is not for you."""

    keeps_work = True  # that it was denied is written down


class Missing(Refusal):
    """There is no such thing."""


class WrongMethod(Refusal):
    """This is not done here."""


class Conflict(Refusal):
    """The request contradicts what is there."""


class TooLarge(Refusal):
    """The request is too large."""


class TooLong(Refusal):
    """The URL of the request is too long."""


class WrongType(Refusal):
    """The request is of a type that is not taken."""


class TooMuchAhead(Refusal):
    """What comes before the body is too large."""


class Unfit(Refusal):
    """The request was read but does not fit."""


class TooMany(Refusal):
    """There were too many requests."""


class Crash(Refusal):
    """The service made a mistake."""


class Unavailable(Refusal):
    """The service cannot answer right now."""


# What any request may meet.


class BadRequest(Malformed):
    """The request is not valid HTTP, or did not arrive in time."""


class BodyNotJson(Malformed):
    """The body must be one JSON object in UTF-8, without repeated names."""


class PathUnknown(Missing):
    """There is nothing at this path."""


class MethodNotAllowed(WrongMethod):
    """This path does not take this method; the Allow header lists those it takes."""


class BodyTooLarge(TooLarge):
    """The body may have at most 16 KiB."""


class UrlTooLong(TooLong):
    """The URL may have at most 4 KiB."""


class HeadersTooLarge(TooMuchAhead):
    """There may be at most 50 headers, each of at most 8 KiB."""


class ContentTypeUnsupported(WrongType):
    """The body must be sent as application/json."""


class ContentEncodingUnsupported(WrongType):
    """The body must be sent as it is, without a Content-Encoding."""


class ValidationFailed(Unfit):
    """The request is invalid; `fields` says where and why."""


class TooManyRequests(TooMany):
    """There were too many requests from this network; `retry_after` says when to come back."""


class InternalError(Crash):
    """The service made a mistake, which has been recorded under the request id."""


class DatabaseAway(Unavailable):
    """The database does not answer; please try again."""


class RedisAway(Unavailable):
    """The store of codes does not answer; please try again."""


class ServiceBusy(Unavailable):
    """The service has more to do than it can; nothing was changed, please try again."""


class KeysSealed(Unavailable):
    """The keys that sign access tokens cannot be opened; whoever runs the service has to look."""


class NotReady(Unavailable):
    """The service is not ready to take requests."""


# Registration.


class UserUnknown(Missing):
    """There is no such user."""


class EmailTaken(Conflict):
    """There is already a user with this address."""


class MailAlreadyVerified(Conflict):
    """The address of this user has already been confirmed."""


class MailNotConfirmed(Conflict):
    """The address has to be confirmed by a code first."""


class PasswordAlreadySet(Conflict):
    """The registration has been finished, and not with this password."""

    keeps_work = True


class CodeWrong(Missing):
    """The code is wrong; `attempts_left` says how many guesses remain."""

    keeps_work = True


class CodeExpired(Missing):
    """There is no live code for this; ask for a new one."""

    keeps_work = True


class TooManyCodes(TooMany):
    """Too many codes were asked for; `retry_after` says when the next one may be."""


# Sign-in and sessions.


class CredentialsRejected(Unauthenticated):
    """The address and the password or code do not match."""

    keeps_work = True


class TokenMissing(Unauthenticated):
    """This needs an access token."""


class TokenInvalid(Unauthenticated):
    """The access token is invalid or has expired, or its session has ended."""


class RefreshRejected(Unauthenticated):
    """The refresh token is no longer valid; sign in again."""

    keeps_work = True


class TooManyAttempts(TooMany):
    """There were too many attempts; `retry_after` says when the next one may be."""


class SessionUnknown(Missing):
    """There is no such session."""

    keeps_work = True


class ServiceKeyMissing(Unauthenticated):
    """This needs a service key."""


class ServiceKeyInvalid(Unauthenticated):
    """The service key is invalid, expired or revoked."""


class ScopeMissing(Forbidden):
    """The service key lacks the scope that `scope` names."""


class UndoUnknown(Missing):
    """This link has been used, or has expired."""


class CrossSite(Forbidden):
    """A request that a cookie speaks for must come from an allowed page and carry X-Requested-With."""


# The account.


class PasswordWrong(Forbidden):
    """The password is wrong."""


class ReauthenticationRequired(Forbidden):
    """This needs a fresh proof of who you are: the password, or a code that was mailed just now."""


class PasswordNotSet(Conflict):
    """This account has no password; recovery by a mailed code sets one."""


class AccountChanged(Conflict):
    """The account was changed at this moment; look at it again."""
