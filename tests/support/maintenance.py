"""Maintenance: one run of it, and connections that block it."""

from typing import Any

import psycopg2
from flask import Flask

from auth_service.services.maintenance import MaintenanceReport
from auth_service.wiring import Services
from tests.support.stores import Stores


def connected(stores: Stores) -> Any:
    """A connection that does not belong to the application."""
    return psycopg2.connect(stores.database_url.replace("+psycopg2", ""))


def run(app: Flask) -> MaintenanceReport:
    """Run maintenance once; the advisory lock keeps other runs out."""
    services: Services = app.extensions["auth_service"]
    with app.app_context():
        report = services.maintenance.run()
    assert report is not None
    return report
