"""What Prometheus is told of requests; safe over several processes, served on a port of its own."""

import os
from collections.abc import Iterator
from functools import cache

from flask import Flask
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from auth_service.db import unit_of_work
from auth_service.errors import ServiceError
from auth_service.wiring import Services

REQUESTS = Counter("auth_requests", "Answered requests.", ["route", "method", "status"])
ERRORS = Counter("auth_refusals", "Refused requests, by `error.code`.", ["code"])
SECONDS = Histogram(
    "auth_request_seconds",
    "How long answers took.",
    ["route"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5),
)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def observe(route: str, method: str, status: int, seconds: float) -> None:
    """Count one answer."""
    counter, histogram = _series(route, method if method in METHODS else "other", status)
    counter.inc()
    histogram.observe(seconds)


@cache
def _series(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    """Where such an answer is counted: found once, since finding it costs as much as counting.

    Routes come from the routing table, methods and statuses from short lists, so their number is bounded.
    """
    return REQUESTS.labels(route, method, str(status)), SECONDS.labels(route)


def observe_error(kind: type[ServiceError]) -> None:
    """Count one refusal: several share a status, and an operator has to tell them apart."""
    _refused(kind.code).inc()


@cache
def _refused(code: str) -> Counter:
    """Where such a refusal is counted; there are as many as classes."""
    return ERRORS.labels(code)


class OutboxCollector:
    """How the outbox stands, asked of the database whenever Prometheus asks us."""

    def __init__(self, app: Flask) -> None:
        """`app` is the application whose outbox it is."""
        self._app = app

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges; while the database is away, only that it is."""
        services: Services = self._app.extensions["auth_service"]
        try:
            with self._app.app_context(), unit_of_work():
                backlog = services.outbox.backlog()
        except ServiceError:
            yield GaugeMetricFamily("auth_database_up", "Whether PostgreSQL answers.", value=0)
            return
        yield GaugeMetricFamily("auth_database_up", "Whether PostgreSQL answers.", value=1)
        yield GaugeMetricFamily("auth_outbox_waiting", "Letters that wait to be sent.", value=backlog.waiting)
        yield GaugeMetricFamily(
            "auth_outbox_lag_seconds",
            "How long the oldest due letter has waited.",
            value=backlog.oldest.total_seconds(),
        )
        yield GaugeMetricFamily("auth_outbox_dead", "Letters that died in the last 24 hours.", value=backlog.dead)


class RedisCollector:
    """How Redis stands, asked whenever Prometheus asks us."""

    def __init__(self, app: Flask) -> None:
        """`app` is the application whose Redis it is."""
        self._app = app

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges; while Redis is away, only that it is."""
        services: Services = self._app.extensions["auth_service"]
        try:
            used = services.redis.memory_used()
            policy = services.redis.eviction_policy()
        except ServiceError:
            yield GaugeMetricFamily("auth_redis_up", "Whether Redis answers.", value=0)
            return
        yield GaugeMetricFamily("auth_redis_up", "Whether Redis answers.", value=1)
        yield GaugeMetricFamily("auth_redis_used_memory_bytes", "What Redis holds in memory.", value=used)
        yield GaugeMetricFamily(
            "auth_redis_evicts",
            "Whether Redis would throw keys away when it is full; it must not.",
            value=int(policy not in (None, "noeviction")),
        )


def serve(app: Flask, *, host: str, port: int) -> None:
    """Serve `/metrics` from a thread of this process, adding up those of its workers where there are any."""
    registry = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(REGISTRY)
    registry.register(OutboxCollector(app))
    registry.register(RedisCollector(app))
    try:
        start_http_server(port, addr=host, registry=registry)
    except OSError as taken:
        raise SystemExit(f"METRICS_PORT: {port} cannot be listened on: {taken.strerror}") from None
