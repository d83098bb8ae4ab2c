"""`manage.py maintenance`, and the maintenance thread of the mail worker, which runs maintenance once an hour."""

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
"""Upper bound of the random delay before the first run, so that mail workers do not all start maintenance together."""

SUCCEEDED_AT = Gauge(
    "auth_maintenance_success_timestamp_seconds",
    "Unix time at which this mail worker last finished maintenance, or another one was running it.",
)


@click.command()
@with_appcontext
def maintenance() -> None:
    """Delete expired records and prepare the partitions of the audit log."""
    services: Services = current_app.extensions["auth_service"]
    report = services.maintenance.run()
    print("another process runs the maintenance" if report is None else _summary(report))


def _summary(report: MaintenanceReport) -> str:
    partitions = [
        f"{verb} {', '.join(names)}"
        for verb, names in (("created", report.months_created), ("dropped", report.months_dropped))
        if names
    ]
    deleted = (
        f"deleted {report.temporary_users} temporary users, {report.emails} email records, "
        f"{report.ended_sessions} ended sessions, {report.revert_links} account revert links, "
        f"{report.invitations} invitations and {report.idempotency_keys} idempotency keys"
    )
    sealed = [f"sealed {report.hours_sealed} hours of the audit log"] if report.hours_sealed else []
    return "; ".join([deleted, *partitions, *sealed])


@dataclass(frozen=True, kw_only=True)
class MaintenanceThread:
    """Runs maintenance once an hour in the background of a mail worker, in one mail worker at a time."""

    enter: Callable[[], AbstractContextManager[Any]]
    """Enters the context in which the database can be used."""
    maintenance: Maintenance
    stop: threading.Event
    first_within: timedelta = FIRST_WITHIN

    def start(self) -> threading.Thread:
        """Start the thread. It ends soon after `stop` is set, and can be killed at any time."""
        thread = threading.Thread(target=self._run, name="maintenance", daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        pause = random.uniform(0, self.first_within.total_seconds())  # noqa: S311 - not a secret
        while not self.stop.wait(pause):
            self._run_once()
            pause = EVERY.total_seconds()

    def _run_once(self) -> None:
        try:
            with self.enter():
                report = self.maintenance.run(stopped=self.stop.is_set)
        except Unavailable as error:
            log.warning("the maintenance waits for a dependency", extra={"error": error.code})
        except OperationalError as error:  # its text is not logged, since it may contain personal data
            log.warning("the maintenance waits for a dependency", extra={"error": type(error.orig).__name__})
        except Exception:
            log.exception("the maintenance failed")
        else:
            SUCCEEDED_AT.set(clock.now().timestamp())
            log.info(
                "the maintenance has finished", extra={"report": "nothing" if report is None else _summary(report)}
            )
