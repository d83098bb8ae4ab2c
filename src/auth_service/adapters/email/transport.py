"""Email transport (`MailTransport`): what sends one finished email, and the two ways in which sending can fail."""

from email.message import Message
from typing import Protocol


class MailTransport(Protocol):
    """Sends one email to one recipient: by SMTP, or into the dev inbox."""

    def send(self, message: Message, *, to: str) -> None:
        """Send `message` to `to`, from the address in its From header. Raises MailDeferred or MailRefused."""
        ...


class MailFailure(Exception):
    """An email was not sent.

    Holds only our own words and an SMTP status. The text of a server's reply may repeat the address or the email, and
    neither belongs into logs.
    """

    def __init__(self, *, reason: str, status: int | None = None) -> None:
        """`reason` is a few words of our own, `status` the reply code of the server (RFC 5321, 4.2.3)."""
        super().__init__(reason if status is None else f"{status} {reason}")
        self.reason = reason
        self.status = status


class MailDeferred(MailFailure):
    """Try again later: the server is unreachable, busy or misconfigured, or its last reply was lost.

    In the last case the server may have accepted the email, so the retry has to carry the same Message-ID.
    """


class MailRefused(MailFailure):
    """Never try again: the server refuses this email or this recipient."""
