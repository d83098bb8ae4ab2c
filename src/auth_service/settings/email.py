"""Settings of email: mail server, sender, mail worker and the one-time codes that emails carry."""

from datetime import timedelta

from pydantic import Field
from pydantic_settings import BaseSettings

from auth_service.settings.types import HeaderText, PositiveSeconds, Sender, SmtpUrlText


class EmailSettings(BaseSettings):
    """Mail server, sender and mail worker."""

    smtp_url: SmtpUrlText | None = Field(
        None,
        description="`smtp://`, `smtps://` or `smtp+starttls://user:password@host:port`. The dev inbox when unset "
        "(`local`, `test`).",
    )
    mail_from: Sender | None = Field(
        None,
        description="Sender of emails: `no-reply@example.org`, or with a display name `Portal <no-reply@example.org>`. "
        "The name is `SERVICE_NAME` when it is left out; the address is `no-reply@` and the host of `PUBLIC_URL` when "
        "unset.",
    )
    mail_senders: int = Field(4, ge=1, le=32, description="Emails that one mail worker sends concurrently.")
    mail_timeout_seconds: PositiveSeconds = Field(
        timedelta(seconds=45),
        description="Time limit for sending one email, from the connection to the last reply of the mail server; one "
        "reply has 10 seconds.",
    )
    outbox_lease_seconds: PositiveSeconds = Field(
        timedelta(seconds=60),
        description="Lease of a claimed email: if its mail worker dies, another one sends it after this time. Longer "
        "than `MAIL_TIMEOUT_SECONDS`.",
    )
    service_name: HeaderText = Field(
        "Portal", min_length=1, max_length=60, description="Name of the portal in emails and on the Swagger page."
    )


class CodeSettings(BaseSettings):
    """Lifetime and attempts of emailed one-time codes and of their flow tickets."""

    code_lifetime_seconds: PositiveSeconds = Field(
        timedelta(minutes=10), description="Lifetime of a one-time code sent by email."
    )
    code_guesses: int = Field(5, ge=1, le=10, description="Failed attempts that invalidate a code.")
    ticket_guesses: int = Field(
        15, ge=1, le=100, description="Failed attempts of one registration ticket, over all of its codes."
    )
    ticket_lifetime_seconds: PositiveSeconds = Field(
        timedelta(hours=1), description="Lifetime of a flow ticket after its newest code."
    )
