"""Dev inbox: the email transport for development and tests, which stores every email in a folder of this machine."""

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

# The recipient of the SMTP envelope, as mail servers record it on delivery. The header To may name another one.
RECIPIENT = "Delivered-To"
FILE_NAME = re.compile(r"([0-9]+)\.M([0-9]+)P[0-9]+Q([0-9]+)\.")
CODE = re.compile(r"[0-9]{4,8}(?= )")


@dataclass(frozen=True, kw_only=True, slots=True)
class InboxMessage:
    """A delivered email. Fields that can contain its code stay out of the `repr`, and so out of logs."""

    to: str
    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str = field(repr=False)
    language: str
    message_id: str
    received_at: datetime
    code: str | None = field(repr=False)
    """The one-time code of the email: at the start of its subject and alone on a line of its text."""


class DevInbox:
    """A `MailTransport` into a Maildir. Several processes may write, read and clear it concurrently."""

    # `mailbox` numbers the file names within a process, but its counter is not thread-safe.
    _naming = threading.Lock()

    def __init__(self, folder: Path) -> None:
        """`folder` is created with the first email; only its owner can read it."""
        self._folder = folder

    def send(self, message: Message, *, to: str) -> None:
        """Store an email. Raises MailDeferred if the folder cannot be written."""
        try:
            self.put(message, to=to)
        except (OSError, mailbox.Error):
            raise MailDeferred(reason="the inbox cannot be written") from None

    def put(self, message: Message, *, to: str) -> None:
        """Store an email. Raises OSError, mailbox.Error, and ValueError for an address with unprintable characters."""
        if not to.isprintable():
            raise ValueError("the recipient's address contains unprintable characters")
        with self._naming:
            raw = message.as_bytes(policy=message.policy.clone(linesep="\n"))
            self._maildir().add(f"{RECIPIENT}: {to}\n".encode() + raw)

    def messages(self, to: str | None = None, limit: int = 50) -> list[InboxMessage]:
        """Return at most `limit` emails, the newest first; with `to` only those to this address, ignoring case."""
        messages: list[InboxMessage] = []
        for path in self._newest_first():
            if len(messages) >= limit:
                break
            # Another process may have deleted the file in the meantime.
            with suppress(FileNotFoundError):
                if to is None or _recipient(path).casefold() == to.casefold():
                    messages.append(_read(path))
        return messages

    def clear(self) -> None:
        """Delete all emails."""
        for path in self._newest_first():
            path.unlink(missing_ok=True)

    def _maildir(self) -> mailbox.Maildir:
        # Not with `mailbox`: it fails if two processes create the folder concurrently, or if its parent does not exist.
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in ("tmp", "new", "cur"):
            (self._folder / part).mkdir(mode=0o700, exist_ok=True)
        return mailbox.Maildir(self._folder, create=False)

    def _newest_first(self) -> list[Path]:
        # Emails that were opened in a mail reader have moved from `new` to `cur`.
        return sorted((path for part in ("new", "cur") for path in self._files(part)), key=_delivered_at, reverse=True)

    def _files(self, part: str) -> Iterator[Path]:
        with suppress(FileNotFoundError):
            yield from (path for path in (self._folder / part).iterdir() if FILE_NAME.match(path.name))


def _delivered_at(path: Path) -> tuple[int, ...]:
    """Return the time of delivery from the file name: seconds, microseconds, and the number within its process."""
    name = FILE_NAME.match(path.name)
    return tuple(map(int, name.groups())) if name else ()


def _recipient(path: Path) -> str:
    with path.open("rb") as file:
        return file.readline().decode().partition(": ")[2].strip()


def _read(path: Path) -> InboxMessage:
    message = message_from_bytes(path.read_bytes(), policy=policy.default)
    seconds, microseconds, _ = _delivered_at(path)
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
