"""SMTP URL: what is parsed, and rejected without its password in the error."""

import traceback

import pytest

from auth_service.adapters.email.smtp_transport import SmtpTransport
from auth_service.settings.smtp_url import SmtpUrl
from tests.support.smtp import PASSWORD, QUOTED_PASSWORD


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example.org", SmtpUrl(scheme="smtp", host="mail.example.org", port=25)),
        ("smtp://localhost:1025/", SmtpUrl(scheme="smtp", host="localhost", port=1025)),
        ("smtps://mail", SmtpUrl(scheme="smtps", host="mail", port=465)),
        ("smtp+starttls://mail", SmtpUrl(scheme="smtp+starttls", host="mail", port=587)),
        ("smtp://[::1]:2525", SmtpUrl(scheme="smtp", host="::1", port=2525)),
        (
            f"smtps://mail%40me:{QUOTED_PASSWORD}@10.0.0.1:65535",
            SmtpUrl(scheme="smtps", host="10.0.0.1", port=65535, user="mail@me", password=PASSWORD),
        ),
        ("smtp://u:p@127.8.9.1", SmtpUrl(scheme="smtp", host="127.8.9.1", port=25, user="u", password="p")),
        ("smtp://u:p@[::1]", SmtpUrl(scheme="smtp", host="::1", port=25, user="u", password="p")),
    ],
)
def test_a_url_is_parsed(url: str, expected: SmtpUrl) -> None:
    assert SmtpUrl.parse(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mail.example.org",
        "http://mail.example.org",
        "smtp://",
        "smtp://u:s3cret@",
        "smtps://u:s3cret",
        "smtps://u:s3cret/s3cret@mail",
        "smtps://u:s3cret?s3cret@mail",
        "smtps://u:s3cret#@mail",
        "smtps://u:s3cret@s3cret@mail",
        "smtps://u:s3cret:s3cret@mail",
        "smtps://u:s3cret%@mail",
        "smtps://u:s3cret%FF@mail",
        "smtps://u:s3cret%00@mail",
        "smtps://u:s3cret%0D%0A@mail",
        "smtps://u:s3cret @mail",
        "smtps://u:s3cret@mail\n",
        "smtps://:s3cret@mail",
        "smtps://u:@mail",
        "smtps://s3cret@mail",
        "smtps://u:s3cret@mail:0",
        "smtps://u:s3cret@mail:65536",
        "smtps://u:s3cret@mail:s3cret",
        "smtps://u:s3cret@mail/box",
        "smtps://u:s3cret@mail?tls=no",
        "smtps://u:s3cret@-..org",
        "smtps://u:s3cret@[1:2]",
        "smtps://u:s3cret@[::1",
        "smtp://u:s3cret@mail.example.org",
        "smtp://u:s3cret@10.0.0.1",
        "smtp://u:s3cret@localhost.example.org",
        "smtp://u:s3cret@127.0.0.1.example.org",
    ],
)
def test_an_invalid_url_is_rejected_without_its_password_in_the_error(url: str) -> None:
    with pytest.raises(ValueError) as rejected:
        SmtpTransport(url)

    assert "s3cret" not in "".join(traceback.format_exception_only(rejected.value))
    assert rejected.value.__context__ is None


def test_the_password_is_not_in_the_repr() -> None:
    assert "s3cret" not in repr(SmtpUrl.parse("smtps://u:s3cret@mail"))
