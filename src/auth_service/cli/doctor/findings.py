"""Findings of `manage.py doctor`: what was checked, its state, and one line in words."""

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
        """`before` and `after` are the instants of this machine around the question."""
        return cls(name, instant - (before + (after - before) / 2))


def ok(check: str, text: str) -> Finding:
    """A check that passed."""
    return Finding(check, State.OK, text)


def warn(check: str, text: str) -> Finding:
    """Something that works and that an operator may not have meant."""
    return Finding(check, State.WARNING, text)


def fail(check: str, text: str) -> Finding:
    """Something that prevents the service, or a part of it, from working."""
    return Finding(check, State.FAILURE, text)
