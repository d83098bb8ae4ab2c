"""Model of the registration: what the contract promises about a user and its codes after each step."""

from dataclasses import dataclass, field
from typing import Literal

GUESSES, ALL_GUESSES = 5, 6

Outcome = tuple[int, str, int | None]
"""The status, the code of a refusal, and the guesses that are left after a wrong one."""
OK: Outcome = (200, "", None)
TOLD: Outcome = (201, "", None)
UNKNOWN: Outcome = (404, "user_unknown", None)
EXPIRED: Outcome = (404, "code_expired", None)
NOT_CONFIRMED: Outcome = (409, "mail_not_confirmed", None)


@dataclass
class Challenge:
    """The newest code of a browser."""

    user_id: int
    code: str
    wrong: int
    total: int
    state: Literal["open", "confirmed", "burnt"] = "open"
    late: bool = False
    judged: int = 0


@dataclass
class Model:
    """What should be true, by the contract alone."""

    user_id: int | None = None
    finished_by: str | None = None
    password: str | None = None
    challenges: dict[str, Challenge] = field(default_factory=dict)

    def of(self, who: str) -> Challenge | None:
        """The challenge of a browser, as long as it is about the user that there is."""
        challenge = self.challenges.get(who)
        return challenge if challenge and challenge.user_id == self.user_id else None

    def asked(self, who: str) -> Outcome:
        challenge = self.of(who)
        if self.user_id is None:
            return UNKNOWN
        if self.finished_by:
            return 409, "mail_already_verified", None
        return (429, "too_many_codes", None) if challenge and challenge.total >= ALL_GUESSES else OK

    def issued(self, who: str, code: str) -> None:
        was = self.of(who)
        assert self.user_id is not None
        self.challenges[who] = Challenge(
            user_id=self.user_id,
            code=code,
            wrong=was.wrong if was and was.state == "open" and not was.late else 0,
            total=was.total if was else 0,
        )

    def guessed(self, who: str, code: str) -> Outcome:
        challenge = self.of(who)
        if challenge is None or self.finished_by or challenge.state != "open" or challenge.late:
            return EXPIRED
        challenge.judged += 1
        if code == challenge.code:
            challenge.state = "confirmed"
            return OK
        challenge.wrong += 1
        challenge.total += 1
        if challenge.wrong == GUESSES:
            challenge.state = "burnt"
        return 404, "code_wrong", GUESSES - challenge.wrong

    def finished(self, who: str, password: str | None) -> Outcome:
        challenge = self.of(who)
        if self.user_id is None:
            return UNKNOWN
        if self.finished_by is None and challenge and challenge.state == "confirmed":
            self.finished_by, self.password = who, password
        if self.finished_by != who:
            return NOT_CONFIRMED
        return OK if password in (None, self.password) else (409, "password_already_set", None)
