"""Flows of one-time codes: the codes of one purpose for one user."""

from dataclasses import dataclass, replace
from typing import Any

from auth_service.db import unit_of_work
from auth_service.errors import CodeWrong
from auth_service.services.credentials.one_time_codes import CodeSent, OneTimeCodes, Recipient


@dataclass(frozen=True, kw_only=True, slots=True)
class Flow:
    """The codes of one purpose, for one user."""

    codes: OneTimeCodes
    to: Recipient

    def send(self, **more: Any) -> CodeSent:
        """Email a code."""
        with unit_of_work():
            return self.codes.send(**{"to": self.to, "network": "192.0.2.0/24", **more})

    def attempt(self, code: str, ticket: str | None = None, **changed: Any) -> int | None:
        """Try a code; returns the attempts that are left after a wrong one. Raises CodeExpired."""
        try:
            self.codes.verify_and_consume(code, replace(self.to, **changed), ticket=ticket)
        except CodeWrong as wrong:
            return int(wrong.members["attempts_left"])
        return None
