"""Health checks: liveness (`/health/live`) and readiness (`/health/ready`).

The reason of a failure is in the log and the metrics, not in the response: these paths may be public.
"""

import logging
from datetime import timedelta

from flask import Blueprint, Response

from auth_service.api.current import services
from auth_service.api.http.responses import success_response
from auth_service.api.ops import draining
from auth_service.db import autocommit, unit_of_work
from auth_service.db.schema_version import SchemaState, schema_state
from auth_service.errors import NotReady, ServiceError
from auth_service.wiring import Services

log = logging.getLogger(__name__)

health = Blueprint("health", __name__, url_prefix="/health")

MAX_OUTBOX_LAG = timedelta(minutes=5)
"""An email that has been due for longer means that no mail worker delivers."""


@health.get("/live")
def live() -> Response:
    """Answer 200: the process handles requests. Checks no dependency, so an outage of one causes no restart."""
    return success_response(status=200, data=None, done=True)


@health.get("/ready")
def ready() -> Response:
    """Answer 200 if database, migrations, outbox and Redis work and no stop was requested. Raises NotReady."""
    if reasons := failures(services()):
        log.warning("not ready", extra={"troubles": reasons})
        raise NotReady(retry_after=5)
    return success_response(status=200, data=None, done=True)


def failures(services: Services) -> list[str]:
    """Return the reasons why the service is not ready; an empty list if it is ready."""
    stopping = ["stopping"] if draining.started() else []
    return [*stopping, *_database_failures(services), *_redis_failures(services)]


def _database_failures(services: Services) -> list[str]:
    try:
        with unit_of_work():
            with autocommit() as connection:
                schema = schema_state(connection)
            if schema not in (SchemaState.CURRENT, SchemaState.NEXT):
                return [f"database: {schema.value}"]
            lag = services.outbox.backlog().oldest
    except ServiceError as error:
        return [f"database: {error.code}"]
    return [f"outbox: the oldest email has waited {lag.total_seconds():.0f} s"] if lag > MAX_OUTBOX_LAG else []


def _redis_failures(services: Services) -> list[str]:
    try:
        services.redis.ping()
        policy = services.redis.eviction_policy()
    except ServiceError as error:
        return [f"redis: {error.code}"]
    return [] if policy in (None, "noeviction") else [f"redis: evicts keys ({policy})"]
