"""A user who has lost all second factors, and requests their delayed reset."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from auth_service.adapters.email.dev_inbox import InboxMessage
from auth_service.wiring import Services
from tests.support.actors import Mailbox
from tests.support.second_factor import STEP, ProtectedUser
from tests.support.stores import Query

RESET, CANCEL = f"{STEP}/reset", f"{STEP}/reset/cancel"


def run_due(app: Flask) -> None:
    """Do for delayed resets what a mail worker does every few seconds."""
    services: Services = app.extensions["auth_service"]
    with app.app_context():
        services.due_resets.run_due()


@dataclass
class Owner:
    """A user with TOTP who has neither the app nor the recovery codes at hand."""

    user: ProtectedUser
    mailbox: Mailbox
    query: Query
    app: Flask

    def send(self, **body: Any) -> TestResponse:
        """Send a request for the reset, with the ticket of a new first step."""
        return self.user.api.call("POST", RESET, json={"ticket": self.user.ticket(), **body})

    def code(self) -> str:
        """Request a code; return the one in the email."""
        sent = self.send()
        assert sent.status_code == 200, sent.text
        return self.mailbox.code_sent_to(self.user.email)

    def request(self) -> datetime:
        """Request the reset with an emailed code; return when it takes effect."""
        answer = self.send(code=self.code())
        assert answer.status_code == 200, answer.text
        return datetime.fromisoformat(answer.get_json()["data"]["effective_at"])

    def pass_time(self, **units: float) -> None:
        """Let time pass for the requested reset, and do what is due."""
        self.query(
            "UPDATE second_factor_resets SET next_at = next_at - %s, effective_at = effective_at - %s RETURNING 1",
            *[timedelta(**units)] * 2,
        )
        run_due(self.app)

    def pass_all_time(self) -> None:
        """Let the time of the reset come, and do what is due, the second email included."""
        for _ in range(2):
            self.pass_time(days=8)

    def emails(self, about: str) -> list[InboxMessage]:
        """The emails to the user whose subject contains a text."""
        return [email for email in self.mailbox.letters_to(self.user.email) if about in email.subject]

    def cancel(self, token: str) -> TestResponse:
        """Press the button on the page of a cancel link."""
        return self.user.api.call("POST", CANCEL, json={"token": token})

    def is_pending(self) -> bool:
        """Whether a reset is requested, as the user sees it."""
        status = self.user.call("GET", "/me/second_factor").get_json()["data"]
        return status["reset_due_at"] is not None

    def has_factors(self) -> bool:
        """Whether the account still has TOTP and recovery codes."""
        return self.query("SELECT (SELECT count(*) FROM second_factors), (SELECT count(*) FROM recovery_codes)") != [
            (0, 0)
        ]


def cancel_token(email: InboxMessage) -> str:
    """The token of the cancel link of an email."""
    [token] = re.findall(r"/account/second_factor_reset#(\S+)", email.text)
    return str(token)
