"""`manage.py maintenance`, and the thread of the mailer that does the same once an hour."""

import logging
import random
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import click
from flask import current_app
from flask.cli import with_appcontext
from prometheus_client import Gauge
from sqlalchemy.exc import OperationalError

from auth_service import clock
from auth_service.errors import Unavailable
from auth_service.services.maintenance import Maintenance, MaintenanceReport
from auth_service.wiring import Services

log = logging.getLogger(__name__)

EVERY = timedelta(hours=1)
FIRST_WITHIN = timedelta(minutes=1)
"""Several mailers that start at once do not all begin at once, and one that is restarted all the time has time."""

SUCCEEDED_AT = Gauge(
    "auth_maintenance_success_timestamp_seconds", "When this mailer last finished the maintenance, or found it done."
)


@click.command()
@with_appcontext
def maintenance() -> None:
    """Remove what was kept long enough, and make room for the history to come."""
    services: Services = current_app.extensions["auth_service"]
    done = services.maintenance.run()
    print("another process runs the maintenance" if done is None else _said(done))


def _said(done: MaintenanceReport) -> str:
    months = [
        f"{verb} {', '.join(names)}"
        for verb, names in (("made", done.months_created), ("dropped", done.months_dropped))
        if names
    ]
    removed = (
        f"removed {done.temporary_users} temporary users, {done.emails} records of letters, "
        f"{done.ended_sessions} ended sessions and {done.revert_links} links to undo"
    )
    return "; ".join([removed, *months])


@dataclass(frozen=True, kw_only=True)
class MaintenanceThread:
    """Runs the maintenance in the background of a process that lives anyway, one of however many there are."""

    enter: Callable[[], AbstractContextManager[Any]]
    """Enters the context in which the database can be used."""
    maintenance: Maintenance
    stop: threading.Event
    first_within: timedelta = FIRST_WITHIN

    def start(self) -> threading.Thread:
        """Begin; ends soon after `stop`, and may be killed at any time."""
        thread = threading.Thread(target=self._go_on, name="upkeep", daemon=True)
        thread.start()
        return thread

    def _go_on(self) -> None:
        pause = random.uniform(0, self.first_within.total_seconds())  # noqa: S311 - no secret
        while not self.stop.wait(pause):
            self._run_once()
            pause = EVERY.total_seconds()

    def _run_once(self) -> None:
        try:
            with self.enter():
                done = self.maintenance.run(stopped=self.stop.is_set)
        except Unavailable as away:
            log.warning("the maintenance waits for a dependency", extra={"trouble": away.code})
        except OperationalError as away:  # without its text, which may name people
            log.warning("the maintenance waits for a dependency", extra={"trouble": type(away.orig).__name__})
        except Exception:
            log.exception("the maintenance stumbled")
        else:
            SUCCEEDED_AT.set(clock.now().timestamp())
            log.info("the maintenance is done", extra={"did": "nothing" if done is None else _said(done)})
