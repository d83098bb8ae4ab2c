"""Letters: what the service writes to people, in their language, as text and as HTML."""

import base64
import re
from collections.abc import Mapping
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from auth_service.services.email.headers import POLICY, shared

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

# RFC 5322, 2.1.1: what a line of a letter may have without its line break.
LONGEST_LINE = 998

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
) -> EmailMessage:
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
    words = {**values, "language": language}
    subject, _, text = TEMPLATES.get_template(f"{kind}.{language}.txt").render(words).partition("\n")
    html = TEMPLATES.get_template(f"{kind}.{language}.html").render(words)

    message = EmailMessage(policy=POLICY)
    message["From"] = shared("From", sender)
    message["To"] = to
    if [address.addr_spec for address in message["To"].addresses if address.domain] != [to]:
        raise ValueError("a letter is to one address, without a name")
    message["Subject"] = subject
    message["Date"] = date
    message["Message-ID"] = message_id
    message["Auto-Submitted"] = shared("Auto-Submitted", "auto-generated")
    message["X-Auto-Response-Suppress"] = shared("X-Auto-Response-Suppress", "All")
    message["Content-Language"] = shared("Content-Language", language)
    message["MIME-Version"] = shared("MIME-Version", "1.0")
    message["Content-Type"] = shared("Content-Type", f'multipart/alternative; boundary="{BOUNDARY}"')
    message.set_payload([_part("plain", text.lstrip("\n")), _part("html", html)])
    return message


def _part(subtype: str, text: str) -> EmailMessage:
    # `set_content` does the same, and costs more than everything else about a letter together.
    part = EmailMessage(policy=POLICY)
    part["Content-Type"] = shared("Content-Type", f'text/{subtype}; charset="utf-8"')
    if text.isascii() and max(map(len, text.split("\n"))) <= LONGEST_LINE:
        part["Content-Transfer-Encoding"] = shared("Content-Transfer-Encoding", "7bit")
        part.set_payload(text)
    else:
        part["Content-Transfer-Encoding"] = shared("Content-Transfer-Encoding", "base64")
        # What is encoded are the lines as they travel, with CRLF (RFC 2045, 6.8).
        part.set_payload(base64.encodebytes(text.replace("\n", "\r\n").encode()).decode())
    return part


def _refuse_unfit(values: Mapping[str, object]) -> None:
    for name, value in values.items():
        if isinstance(value, str) and UNFIT.search(value):
            raise ValueError(f"{name} has a line break, another control character or an encoded word")
        if name.endswith("_url") and not LINK.fullmatch(str(value)):
            raise ValueError(f"{name} is not a link that can be opened")
