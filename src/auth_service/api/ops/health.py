"""Health checks: liveness (`/health/live`) and readiness (`/health/ready`).

The reason of a failure is in the log and the metrics, not in the response: these paths may be public.
"""

import json
import logging
from dataclasses import dataclass, field
from datetime import timedelta

from flask import Blueprint, Response

from auth_service.api.current import services
from auth_service.api.http.responses import success_response
from auth_service.api.ops import draining
from auth_service.db import accepts_writes, autocommit, unit_of_work
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
    """Answer 200 if database, migrations, outbox and Redis work and no stop was requested. Raises NotReady.

    A dependency that accepts no writes is named in the answer, and the process stays ready: it still serves reads and
    token checks, and all replicas share the dependency, so without this process nothing would be better.
    """
    readiness = check_readiness(services())
    if readiness.failures:
        log.warning("not ready", extra={"reasons": readiness.failures})
        raise NotReady(retry_after=5)
    data = json.dumps(dict.fromkeys(readiness.read_only, "read_only")).encode() if readiness.read_only else None
    return success_response(status=200, data=data, done=True)


@dataclass(kw_only=True, slots=True)
class Readiness:
    """What a readiness probe found."""

    failures: list[str] = field(default_factory=list)
    """The reasons why the service is not ready; empty if it is ready."""
    read_only: list[str] = field(default_factory=list)
    """The dependencies that answer and accept no writes."""


def check_readiness(services: Services) -> Readiness:
    """Ask every dependency. No cost of a probe grows with a table."""
    readiness = Readiness(failures=["stopping"] if draining.started() else [])
    _check_database(services, readiness)
    _check_redis(services, readiness)
    return readiness


def _check_database(services: Services, readiness: Readiness) -> None:
    try:
        with unit_of_work():
            with autocommit() as connection:
                schema = schema_state(connection)
            if schema not in (SchemaState.CURRENT, SchemaState.NEXT):
                readiness.failures.append(f"database: {schema.value}")
            elif not accepts_writes():
                # No mail worker can claim an email now, so the age of the oldest one says nothing about mail workers.
                readiness.read_only.append("database")
            elif (lag := services.outbox.lag()) > MAX_OUTBOX_LAG:
                readiness.failures.append(f"outbox: the oldest email has waited {lag.total_seconds():.0f} s")
    except ServiceError as error:
        readiness.failures.append(f"database: {error.code}")


def _check_redis(services: Services, readiness: Readiness) -> None:
    try:
        if not services.redis.accepts_writes():
            readiness.read_only.append("redis")
        policy = services.redis.eviction_policy()
    except ServiceError as error:
        readiness.failures.append(f"redis: {error.code}")
    else:
        if policy not in (None, "noeviction"):
            readiness.failures.append(f"redis: evicts keys ({policy})")
