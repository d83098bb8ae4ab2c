"""Whether this process lives, and whether the service can do its work.

What exactly is wrong stands in the log and in the metrics, not in the answer: these paths may be public.
"""

import logging
from datetime import timedelta

from flask import Blueprint, Response

from auth_service.api.current import services
from auth_service.api.http.responses import answer
from auth_service.api.ops import draining
from auth_service.db import autocommit, unit_of_work
from auth_service.db.schema_version import SchemaState, schema_state
from auth_service.errors import NotReady, ServiceError
from auth_service.wiring import Services

log = logging.getLogger(__name__)

health = Blueprint("health", __name__, url_prefix="/health")

LONGEST_LAG = timedelta(minutes=5)
"""A letter that is due for longer than this means that nobody delivers."""


@health.get("/live")
def live() -> Response:
    """Say that this process answers; asks nobody else."""
    return answer(status=200, data=None, done=True)


@health.get("/ready")
def ready() -> Response:
    """Say whether database, Redis, migrations and outbox are fit for work, and nobody has asked to stop."""
    if trouble := troubles(services()):
        log.warning("not ready", extra={"troubles": trouble})
        raise NotReady(retry_after=5)
    return answer(status=200, data=None, done=True)


def troubles(wired: Services) -> list[str]:
    """What keeps the service from its work; empty when nothing does."""
    return [*(["stopping"] if draining.started() else []), *_of_database(wired), *_of_redis(wired)]


def _of_database(wired: Services) -> list[str]:
    try:
        with unit_of_work():
            with autocommit() as connection:
                found = schema_state(connection)
            if found not in (SchemaState.CURRENT, SchemaState.NEXT):
                return [f"database: {found.value}"]
            lag = wired.outbox.backlog().oldest
    except ServiceError as away:
        return [f"database: {away.code}"]
    return [f"outbox: the oldest letter has waited {lag.total_seconds():.0f} s"] if lag > LONGEST_LAG else []


def _of_redis(wired: Services) -> list[str]:
    try:
        wired.redis.ping()
        policy = wired.redis.eviction_policy()
    except ServiceError as away:
        return [f"redis: {away.code}"]
    return [] if policy in (None, "noeviction") else [f"redis: evicts keys ({policy})"]
