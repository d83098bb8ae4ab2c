"""Letters: what the service writes to people, in their language, as text and as HTML."""

import re
from collections.abc import Mapping
from datetime import datetime
from email.header import Header
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import compat32
from email.utils import format_datetime, formataddr, parseaddr
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

LANGUAGES = ("en", "ru")
"""The languages that letters are written in; the first is for those who ask for none of them."""

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    auto_reload=False,
    trim_blocks=True,
    keep_trailing_newline=True,
)

# What must not be in a value. A line break could end the subject, which is the first line of a text. An encoded word
# (RFC 2047) is decoded by the library in any header that it is given, so it could bring a line break in after all.
UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]|=\\?.*\\?=")

# A link has to be whole for the programs that find links in a text, and to begin in a way that opens a page.
LINK = re.compile(r"https?://[!#-;=?-~]+")

# RFC 5322, 2.1.1: what a line may have without its line break, and what a subject may have on a line of 78 characters.
LONGEST_LINE = 998
LONGEST_PLAIN_SUBJECT = 69

# Headers travel as they are given, unfolded: some mail servers lose a Message-ID that is folded. `EmailMessage` makes,
# parses and folds a class for each header of each email, which costs more CPU than everything else about an email
# (docs/decisions/0020-email-format-and-addresses.md).
POLICY = compat32.clone(linesep="\r\n", max_line_length=LONGEST_LINE)

# It cannot be met in a part: base64 has no underscore, and lines of ASCII begin with words of ours, a code or a link.
BOUNDARY = "_another_form_of_the_same_letter_"


def render(
    kind: str,
    language: str,
    *,
    to: str,
    sender: str,
    message_id: str,
    date: datetime,
    values: Mapping[str, object],
) -> Message:
    """Write a letter of a `kind` that has templates. All need the value `service`, and besides:

    - `registration_code`, `sign_in_code`, `recovery_code`, `email_code`, `deletion_code`: `code`, `minutes`;
    - `new_device`: `at`, `device`, `address`, `undo_url`, `hours`;
    - `password_changed`, `password_recovered`, `refresh_reused`: `at`, `device`, `address`;
    - `email_changed`: `new_email`, `at`, `device`, `address`, `undo_url`, `hours`;
    - `account_deleted`: `at`.

    Values are shown as they are. `undo_url` is the whole link, made from settings; it works for `hours` hours.
    `to` is a bare address, `sender` may have a name before it, `message_id` has its angle brackets, `date` its zone.
    Raises ValueError, without repeating any of them, for what would break out of its line or header or is no link, and
    `jinja2.UndefinedError` for a value that is missing.
    """
    if language not in LANGUAGES:
        raise ValueError("there are no letters in this language")
    if date.tzinfo is None:
        raise ValueError("the date of a letter needs its zone")
    _refuse_unfit({"to": to, "sender": sender, "message_id": message_id, **values})
    if "@" not in to or parseaddr(to) != ("", to):
        raise ValueError("a letter is to one address, without a name")
    sender_name, sender_address = parseaddr(sender)
    if "@" not in sender_address or not sender_address.isascii():
        raise ValueError("a letter is from one address; a name before it that has a comma is in quotes")
    words = {**values, "language": language}
    subject, _, text = TEMPLATES.get_template(f"{kind}.{language}.txt").render(words).partition("\n")
    html = TEMPLATES.get_template(f"{kind}.{language}.html").render(words)

    message = MIMEMultipart("alternative", boundary=BOUNDARY, policy=POLICY)
    message["From"] = _mailbox(sender_name, sender_address)
    message["To"] = to
    message["Subject"] = _subject(subject)
    message["Date"] = format_datetime(date)
    message["Message-ID"] = message_id
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message["Content-Language"] = language
    message.attach(_part("plain", text.lstrip("\n")))
    message.attach(_part("html", html))
    return message


def _part(subtype: str, text: str) -> MIMEText:
    # US-ASCII travels as it is, UTF-8 as base64. What base64 encodes are lines with CRLF (RFC 2045, 6.8).
    charset = "us-ascii" if _fits_plainly(text, LONGEST_LINE) else "utf-8"
    return MIMEText(text.replace("\n", "\r\n"), subtype, charset, policy=POLICY)


def _fits_plainly(text: str, longest_line: int) -> bool:
    return text.isascii() and max(map(len, text.split("\n"))) <= longest_line


def _subject(subject: str) -> str:
    return subject if _fits_plainly(subject, LONGEST_PLAIN_SUBJECT) else _encoded_words("Subject", subject)


def _mailbox(name: str, address: str) -> str:
    return formataddr((name, address)) if name.isascii() else f"{_encoded_words('From', name)}\r\n <{address}>"


def _encoded_words(header: str, text: str) -> str:
    """Encoded words, each on a line of at most 76 characters (RFC 2047, 2).

    Not by `EmailMessage`: in Python 3.11 it loses spaces between two encoded words.
    """
    return Header(text, "utf-8", maxlinelen=76, header_name=header).encode(linesep="\r\n")


def _refuse_unfit(values: Mapping[str, object]) -> None:
    for name, value in values.items():
        if isinstance(value, str) and UNFIT.search(value):
            raise ValueError(f"{name} has a line break, another control character or an encoded word")
        if name.endswith("_url") and not LINK.fullmatch(str(value)):
            raise ValueError(f"{name} is not a link that can be opened")
