"""`manage.py mail`: the mail worker, and the backlog of the outbox."""

import logging
import signal
import threading
from types import FrameType

import click
import psycopg2
from flask import current_app
from flask.cli import with_appcontext
from sqlalchemy.exc import DBAPIError

from auth_service.api.http import metrics
from auth_service.cli.mail_worker import MailWorker
from auth_service.cli.maintenance import MaintenanceThread
from auth_service.db import unit_of_work
from auth_service.errors import Unavailable
from auth_service.wiring import Services, mail_transport
from auth_service.wiring.diagnosis import explain

log = logging.getLogger(__name__)

LAST_BATCH = 2.0
"""Seconds that a stop waits for the current batch of maintenance. The next run repeats a batch that was killed."""


@click.group()
def mail() -> None:
    """Send emails, and show the backlog of the outbox."""


@mail.command()
@with_appcontext
def deliver() -> None:
    """Run a mail worker, which sends the emails of the outbox until SIGTERM or SIGINT."""
    app = current_app._get_current_object()  # type: ignore[attr-defined] # noqa: SLF001 - Flask's documented way
    services: Services = app.extensions["auth_service"]
    settings = services.settings
    _check_database(services)
    stop = threading.Event()

    def request_stop(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, request_stop)
    if settings.metrics_port is not None and settings.production:
        metrics.serve(app, host=settings.metrics_host, port=settings.metrics_port)
    maintenance_thread = MaintenanceThread(enter=app.app_context, maintenance=services.maintenance, stop=stop).start()
    MailWorker(
        enter=app.app_context,
        delivery=services.delivery,
        transport=mail_transport(settings),
        senders=settings.mail_senders,
        stop=stop,
        periodic=[services.due_resets.run_due],
    ).run()
    maintenance_thread.join(LAST_BATCH)


def _check_database(services: Services) -> None:
    """Raise an error that only an operator can correct, such as a wrong password; other errors may pass."""
    try:
        with unit_of_work():
            services.outbox.backlog()
    except (Unavailable, DBAPIError, psycopg2.Error) as error:
        problem = explain(services.settings, error)
        if problem is None or problem.permanent:
            raise


@mail.command()
@with_appcontext
def backlog() -> None:
    """Print how many emails wait, for how long the oldest is due, and how many failed for good in the last 24 hours."""
    services: Services = current_app.extensions["auth_service"]
    with unit_of_work():
        state = services.outbox.backlog()
    print(f"waiting {state.waiting}, oldest due for {state.oldest.total_seconds():.0f} s, dead today {state.dead}")
