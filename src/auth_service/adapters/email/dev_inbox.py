"""Dev inbox: the email transport of developers and tests, who find every email in a folder on this machine."""

import mailbox
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from pathlib import Path

from auth_service.adapters.email.transport import MailDeferred

# Who a letter was handed over for, as mail servers note it on delivery; it need not be who the letter says it is to.
RECIPIENT = "Delivered-To"
ISSUED = re.compile(r"([0-9]+)\.M([0-9]+)P[0-9]+Q([0-9]+)\.")
CODE = re.compile(r"[0-9]{4,8}(?= )")


@dataclass(frozen=True, kw_only=True, slots=True)
class InboxMessage:
    """A letter as it was delivered. What may hold its code stays out of the `repr`."""

    to: str
    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str = field(repr=False)
    language: str
    message_id: str
    received_at: datetime
    code: str | None = field(repr=False)
    """The code that the letter is about: in front of its subject and alone on a line of its text."""


class DevInbox:
    """A `MailTransport` into a Maildir, which several processes may fill, read and clear concurrently."""

    # The names that mailbox gives are counted within a process, but not safely between its threads.
    _naming = threading.Lock()

    def __init__(self, folder: Path) -> None:
        """`folder` is made with the first letter, readable by its owner alone."""
        self._folder = folder

    def send(self, message: Message, *, to: str) -> None:
        """Put the letter in. Raises MailDeferred when the folder cannot be written."""
        try:
            self.put(message, to=to)
        except (OSError, mailbox.Error):
            raise MailDeferred(reason="the inbox cannot be written") from None

    def put(self, message: Message, *, to: str) -> None:
        """Put the letter in. Raises OSError, mailbox.Error, and ValueError for an address of more than one line."""
        if not to.isprintable():
            raise ValueError("the recipient's address is more than one line")
        with self._naming:
            raw = message.as_bytes(policy=message.policy.clone(linesep="\n"))
            self._maildir().add(f"{RECIPIENT}: {to}\n".encode() + raw)

    def letters(self, to: str | None = None, limit: int = 50) -> list[InboxMessage]:
        """The newest letters first, at most `limit`; only those for the address `to`, in any case, if it is given."""
        found: list[InboxMessage] = []
        for path in self._newest_first():
            if len(found) >= limit:
                break
            # Another process may have deleted it meanwhile.
            with suppress(FileNotFoundError):
                if to is None or _recipient(path).casefold() == to.casefold():
                    found.append(_read(path))
        return found

    def clear(self) -> None:
        """Throw all letters away."""
        for path in self._newest_first():
            path.unlink(missing_ok=True)

    def _maildir(self) -> mailbox.Maildir:
        # Made here since mailbox fails when two processes make the same folder at once, or when none is above it.
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in ("tmp", "new", "cur"):
            (self._folder / part).mkdir(mode=0o700, exist_ok=True)
        return mailbox.Maildir(self._folder, create=False)

    def _newest_first(self) -> list[Path]:
        # Emails that were opened in a mail reader have moved from `new` to `cur`.
        return sorted((path for part in ("new", "cur") for path in self._files(part)), key=_issued, reverse=True)

    def _files(self, part: str) -> Iterator[Path]:
        with suppress(FileNotFoundError):
            yield from (path for path in (self._folder / part).iterdir() if ISSUED.match(path.name))


def _issued(path: Path) -> tuple[int, ...]:
    """When the letter came, from its name: seconds, microseconds, and a count within its process."""
    issued = ISSUED.match(path.name)
    return tuple(map(int, issued.groups())) if issued else ()


def _recipient(path: Path) -> str:
    with path.open("rb") as letter:
        return letter.readline().decode().partition(": ")[2].strip()


def _read(path: Path) -> InboxMessage:
    message = message_from_bytes(path.read_bytes(), policy=policy.default)
    seconds, microseconds, _ = _issued(path)
    subject, text = str(message.get("Subject", "")), _body(message, "plain")
    return InboxMessage(
        to=_recipient(path),
        subject=subject,
        text=text,
        html=_body(message, "html"),
        language=str(message.get("Content-Language", "")),
        message_id=str(message.get("Message-ID", "")),
        received_at=datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds),
        code=_code(subject, text),
    )


def _body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    return "" if part is None else str(part.get_content()).replace("\r\n", "\n")


def _code(subject: str, text: str) -> str | None:
    code = CODE.match(subject)
    return code[0] if code and code[0] in text.splitlines() else None
