"""Audit events at any point of a flow: a transaction that adds them, and the world that the flow changes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar

from flask import Flask
from sqlalchemy import literal_column, select

from auth_service.db import NoParameters, Transaction, Write, unit_of_work
from auth_service.db.prepared import Call
from auth_service.services.audit.events import ClientInfo
from auth_service.services.audit.statements import INSERT_EVENT
from auth_service.services.sessions.sessions import CurrentUser
from auth_service.wiring import Services
from tests.support.actors import ApiClient, Mailbox
from tests.support.stores import Query

PASSWORD = "correct horse battery"
CLIENT = ClientInfo(address="198.51.100.7", device="curl")
PROBE = "a-probe"
FAIL = Write(select(literal_column("1/0")), parameters=NoParameters)
TABLES = (
    "users",
    "user_roles",
    "letters",
    "sessions",
    "undos",
    "email_changes",
    "events",
    "service_keys",
    "signing_keys",
    "invitations",
)


class Interleaving(Transaction):
    """A transaction with an audit event before each statement and before the commit."""

    points: ClassVar[int] = 0
    """How many points the last flow passed."""
    fails_at: ClassVar[int | None] = None

    def write(self, call: Call[Any]) -> None:
        """Add an event, then the statement."""
        self._pass_point()
        super().write(call)

    def commit(self) -> None:
        """Add an event, then commit."""
        self._pass_point()
        super().commit()

    def _pass_point(self) -> None:
        event = INSERT_EVENT(
            {
                "kind": "data_exported",
                "outcome": "success",
                "user_id": None,
                "session_id": None,
                "seen_address": CLIENT.address,
                "seen_device": PROBE,
                "request_id": CLIENT.request_id,
                "details": "{}",
                "actor_type": None,
                "actor_id": None,
                "target_type": None,
                "target_id": None,
            }
        )
        super().write(event)
        if Interleaving.points == self.fails_at:
            super().write(FAIL({}))
        Interleaving.points += 1


@dataclass
class World:
    """The service with users in every state that a flow begins with."""

    app: Flask
    services: Services
    mailbox: Mailbox
    query: Query
    _numbers: Iterator[int] = field(default_factory=count)

    def api(self) -> ApiClient:
        """A client with cookies of its own."""
        return ApiClient(self.app)

    def email(self) -> str:
        """An address that no user has."""
        return f"user{next(self._numbers)}@example.org"

    def registered(self) -> tuple[int, str]:
        """A user with a password: the id and the address."""
        email = self.email()
        return self.api().register(email, self.mailbox, password=PASSWORD), email

    def tokens(self) -> dict[str, Any]:
        """The tokens of a user who has just signed in."""
        return self.api().signed_in(self.registered()[1], PASSWORD)

    def caller(self) -> CurrentUser:
        """A user who has just signed in, as endpoints receive it."""
        with self.app.app_context(), unit_of_work():
            return self.services.sessions.current_user(self.tokens()["access_token"])

    def contents(self) -> list[Any]:
        """A digest of every table."""
        return [
            self.query(f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {table} t")
            for table in TABLES
        ]

    def probes(self) -> int:
        """How many events of `Interleaving` were committed."""
        [(count,)] = self.query("SELECT count(*) FROM events WHERE device = %s", PROBE)
        return int(count)


def run(world: World, flow: Callable[[], object], *, fails_at: int | None) -> int:
    """Run a flow; return how many points it passed."""
    Interleaving.points, Interleaving.fails_at = 0, fails_at
    with world.app.app_context(), unit_of_work(Interleaving):
        flow()
    return Interleaving.points
