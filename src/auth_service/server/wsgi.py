"""WSGI application as gunicorn loads it: waits for PostgreSQL and Redis, and exits if the API must not start."""

import logging
import sys
import time
from datetime import timedelta
from typing import Any

from flask import Flask
from gunicorn.glogging import Logger as GunicornLogger

from auth_service import clock
from auth_service.adapters.request_threads import RequestSlots
from auth_service.app import create_app
from auth_service.db import autocommit, db, unit_of_work
from auth_service.db.schema_version import SchemaState, schema_state
from auth_service.errors import KeysSealed, Unavailable
from auth_service.settings import Settings
from auth_service.wiring import Services
from auth_service.wiring.diagnosis import explain

log = logging.getLogger(__name__)

PATIENCE = timedelta(seconds=30)
"""How long a start waits for dependencies that are starting, too."""

WRONG_KEYRING_KEY = (
    "KEYRING_KEY: cannot decrypt the signing keys; restore the previous value, or generate new signing keys with "
    "`manage.py keys replace`"
)


class Logger(GunicornLogger):
    """Sends the log messages of gunicorn to the JSON log of the service."""

    def setup(self, cfg: Any) -> None:
        """Use the handlers of the root logger, and no access log."""
        self.error_log.setLevel(logging.WARNING)
        self.error_log.propagate = True
        self.access_log.disabled = True


def application() -> Flask:
    """Create the application; exit with the reasons if this deployment must not start."""
    settings = Settings.read().completed()
    app = create_app(settings)
    app.wsgi_app = RequestSlots(settings.web_threads).around(app.wsgi_app)  # type: ignore[assignment, method-assign] # as Flask documents it
    with app.app_context():
        if reasons := wait_for_dependencies(app.extensions["auth_service"]):
            log.critical("not starting", extra={"reasons": reasons})
            sys.exit("\n".join(reasons))
    forget_connections(app)
    return app


def wait_for_dependencies(services: Services, *, patience: timedelta = PATIENCE) -> list[str]:
    """Wait until PostgreSQL and Redis answer; return the reasons why the API cannot start, if any.

    An error that only an operator can correct, such as a wrong password, ends the start immediately.
    """
    give_up_at = clock.monotonic() + patience.total_seconds()
    reason = ""
    while True:
        try:
            return _reasons_not_to_start(services)
        except KeysSealed:  # waiting does not help
            return [WRONG_KEYRING_KEY]
        except Unavailable as error:
            problem = explain(services.settings, error)
            # An open circuit breaker fails without a call to the dependency: keep the reason of the last call.
            reason = problem.text if problem and error.__cause__ is not None else reason or f"{error.code}: no answer"
            if (problem and problem.permanent) or clock.monotonic() > give_up_at:
                return [reason]
            log.warning("waiting for a dependency", extra={"error": error.code, "reason": reason})
            time.sleep(0.5)


def _reasons_not_to_start(services: Services) -> list[str]:
    with unit_of_work(), autocommit() as connection:
        schema = schema_state(connection)
    reasons = (
        []
        if schema in (SchemaState.CURRENT, SchemaState.NEXT)
        else [f"database: {schema.value} (`manage.py db upgrade`, `manage.py doctor`)"]
    )
    services.redis.accepts_writes()  # raises RedisUnavailable; read-only is no obstacle, as at runtime
    policy = services.redis.eviction_policy()
    if services.settings.production and policy not in (None, "noeviction"):
        reasons.append(f"redis: maxmemory-policy is {policy}; a store of codes must not evict (`noeviction`)")
    if not reasons and (unknown := services.roles.unknown(services.settings.second_factor_roles)):
        reasons.append(f"SECOND_FACTOR_ROLES: there is no role {', '.join(unknown)}")
    if not reasons:
        services.signing_keys.for_signing()  # raises KeysSealed after a change of KEYRING_KEY: no sign-in would work
    return reasons


def forget_connections(app: Flask) -> None:
    """Discard the connections that a forked worker shares with its parent, without closing them for the parent."""
    with app.app_context():
        db.engine.dispose(close=False)
    services: Services = app.extensions["auth_service"]
    services.redis.close()
