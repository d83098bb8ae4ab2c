"""Email rendering: from templates to MIME messages with a text and an HTML part, in the language of the user."""

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
"""The languages of emails. The first is the default."""

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    auto_reload=False,
    trim_blocks=True,
    keep_trailing_newline=True,
)

# Header injection: a line break in a value would end the subject, which is the first line of a text template. The email
# library decodes encoded words (RFC 2047) in headers, and a decoded word could contain a line break.
FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]|=\\?.*\\?=")

# Only characters that mail programs recognise as part of a link in plain text, and only schemes that open a page.
LINK = re.compile(r"https?://[!#-;=?-~]+")

# RFC 5322, 2.1.1: at most 998 characters in a line. A subject of 69 characters fits into the recommended 78.
LONGEST_LINE = 998
LONGEST_PLAIN_SUBJECT = 69

# Headers are not folded: some mail servers lose a folded Message-ID. `EmailMessage` is not used, because it creates,
# parses and folds an object for each header, which costs more CPU than the rest of an email
# (docs/decisions/0020-email-format-and-addresses.md).
POLICY = compat32.clone(linesep="\r\n", max_line_length=LONGEST_LINE)

# No line of a part can be the boundary: base64 has no underscore, and a line of ASCII begins with text of a template, a
# code or a link.
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
    """Render an email of a `kind` that has templates. All kinds need the value `service`, and:

    - `registration_code`, `sign_in_code`, `recovery_code`, `email_code`, `deletion_code`, `reauthentication_code`,
      `second_factor_reset_code`: `code`, `minutes`;
    - `new_device`: `at`, `device`, `address`, `undo_url`, `hours`;
    - `password_changed`, `password_recovered`, `refresh_reused`, `passkey_added`, `passkey_removed`, `passkey_cloned`:
      `at`, `device`, `address`;
    - `email_changed`: `new_email`, `at`, `device`, `address`, `undo_url`, `hours`;
    - `role_changed`: `role`, `granted`, `at`, `device`, `address`;
    - `administrators_changed`: `changed_user`, `granted`, `at`, `device`, `address`;
    - `account_banned`: `reason`, `until` (empty for a ban without end), `at`;
    - `account_deleted`, `password_reset_forced`: `at`;
    - `second_factor_on`: `new_codes` (whether only recovery codes are new), `at`, `device`, `address`;
    - `second_factor_reset_asked`: `due`, `cancel_url`, `at`, `device`, `address`;
    - `second_factor_reset_near`: `due`, `cancel_url`;
    - `second_factor_reset_done`: `by_administrator` (otherwise by the user, after a delay), `at`, `undo_url`, `hours`;
    - `second_factor_off`, `second_factor_attempts`: `at`, `device`, `address`;
    - `recovery_code_used`: `left`, `at`, `device`, `address`;
    - `invitation`: `invitation_url`, `valid_until`.

    Values are inserted as they are. `undo_url`, `cancel_url` and `invitation_url` are complete links, built from
    settings; the first works for `hours` hours. `to` is an address without a name, `sender` may have a name,
    `message_id` has angle brackets, `date` a time zone.

    Raises ValueError for a value that could break out of its line or header, and for a URL that is not a link; the
    error message does not quote the value. Raises `jinja2.UndefinedError` for a missing value.
    """
    if language not in LANGUAGES:
        raise ValueError("there are no letters in this language")
    if date.tzinfo is None:
        raise ValueError("the date of an email needs a time zone")
    _reject_forbidden({"to": to, "sender": sender, "message_id": message_id, **values})
    if "@" not in to or parseaddr(to) != ("", to):
        raise ValueError("the recipient of an email is one address without a name")
    sender_name, sender_address = parseaddr(sender)
    if "@" not in sender_address or not sender_address.isascii():
        raise ValueError("the sender of an email is one address; quote a name that contains a comma")
    variables = {**values, "language": language}
    subject, _, text = TEMPLATES.get_template(f"{kind}.{language}.txt").render(variables).partition("\n")
    html = TEMPLATES.get_template(f"{kind}.{language}.html").render(variables)

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
    # US-ASCII is sent without encoding, UTF-8 as base64 of lines that end with CRLF (RFC 2045, 6.8).
    charset = "us-ascii" if _fits_plainly(text, LONGEST_LINE) else "utf-8"
    return MIMEText(text.replace("\n", "\r\n"), subtype, charset, policy=POLICY)


def _fits_plainly(text: str, longest_line: int) -> bool:
    return text.isascii() and max(map(len, text.split("\n"))) <= longest_line


def _subject(subject: str) -> str:
    return subject if _fits_plainly(subject, LONGEST_PLAIN_SUBJECT) else _encoded_words("Subject", subject)


def _mailbox(name: str, address: str) -> str:
    return formataddr((name, address)) if name.isascii() else f"{_encoded_words('From', name)}\r\n <{address}>"


def _encoded_words(header: str, text: str) -> str:
    """Return the text as encoded words, each on a line of at most 76 characters (RFC 2047, 2).

    Not with `EmailMessage`: in Python 3.11 it loses spaces between two encoded words.
    """
    return Header(text, "utf-8", maxlinelen=76, header_name=header).encode(linesep="\r\n")


def _reject_forbidden(values: Mapping[str, object]) -> None:
    for name, value in values.items():
        if isinstance(value, str) and FORBIDDEN.search(value):
            raise ValueError(f"{name} contains a line break, another control character or an encoded word")
        if name.endswith("_url") and not LINK.fullmatch(str(value)):
            raise ValueError(f"{name} is not a link that can be opened")
