"""Email transport (`MailTransport`): the interface that sends one rendered email, and its two kinds of failure."""

from email.message import Message
from typing import Literal, Protocol

TimeLimit = Literal["step", "email"]
"""The time limits of sending: for each step, such as one reply of the server, and for a whole email."""


class MailTransport(Protocol):
    """Sends one email to one recipient: by SMTP, or into the dev inbox."""

    def send(self, message: Message, *, to: str) -> None:
        """Send `message` to `to`, from the address in its From header. Raises MailDeferred or MailRefused."""
        ...


class MailFailure(Exception):
    """An email was not sent.

    Contains only a text of this service and an SMTP status: the reply of the server may repeat the address or the
    email, which must not be logged.
    """

    def __init__(self, *, reason: str, status: int | None = None, timeout: TimeLimit | None = None) -> None:
        """`reason` is a text of this service, `status` the reply code of the server (RFC 5321, 4.2.3).

        `timeout` is the time limit that was exceeded, if that was the cause.
        """
        super().__init__(reason if status is None else f"{status} {reason}")
        self.reason = reason
        self.status = status
        self.timeout = timeout


class MailDeferred(MailFailure):
    """Try again later: the server is unreachable, busy or misconfigured, or its last reply was lost.

    In the last case the server may have accepted the email, so the retry has to carry the same Message-ID.
    """


class MailRefused(MailFailure):
    """Never try again: the server refuses this email or this recipient."""
