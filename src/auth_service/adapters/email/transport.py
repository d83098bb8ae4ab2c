"""Postmen: what takes a finished letter away, and the two ways in which it can fail."""

from email.message import EmailMessage
from typing import Protocol


class MailTransport(Protocol):
    """Takes one letter to one recipient: over SMTP, or into the dev inbox."""

    def send(self, message: EmailMessage, *, to: str) -> None:
        """Hand `message` over for `to`. Raises MailDeferred or MailRefused."""
        ...


class MailFailure(Exception):
    """A letter was not handed over.

    Holds our own words and at most an SMTP status: what a server says may repeat the address or the letter, and those
    do not belong into logs.
    """

    def __init__(self, *, reason: str, status: int | None = None) -> None:
        """`reason` is a few words of our own, `status` the reply code of the server (RFC 5321, 4.2.3)."""
        super().__init__(reason if status is None else f"{status} {reason}")
        self.reason = reason
        self.status = status


class MailDeferred(MailFailure):
    """Try again later: the server is away, busy or misconfigured, or its last answer got lost.

    In that last case the letter may have been taken, so it has to be sent again under the same Message-ID.
    """


class MailRefused(MailFailure):
    """Never try again: the server does not want this letter or this recipient."""
