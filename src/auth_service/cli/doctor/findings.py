"""Findings of `manage.py doctor`: the name of the check, its state, and one line of text."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class State(StrEnum):
    """The state of a finding."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    check: str
    state: State
    text: str


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock of a server, compared with that of this machine."""

    name: str
    ahead: timedelta

    @classmethod
    def compare(cls, name: str, instant: datetime, *, before: datetime, after: datetime) -> "Clock":
        """Compare `instant` of a server with this machine, whose clock was `before` and `after` around the query."""
        return cls(name, instant - (before + (after - before) / 2))


def ok(check: str, text: str) -> Finding:
    """A check that passed."""
    return Finding(check, State.OK, text)


def warn(check: str, text: str) -> Finding:
    """Something that works, but that the operator may not have intended."""
    return Finding(check, State.WARNING, text)


def fail(check: str, text: str) -> Finding:
    """Something that prevents the service, or a part of it, from working."""
    return Finding(check, State.FAILURE, text)
