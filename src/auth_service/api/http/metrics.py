"""Prometheus metrics of requests, outbox and Redis, summed over the worker processes and served on a separate port."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from flask import Flask
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from auth_service.db import accepts_writes, unit_of_work
from auth_service.errors import SecondStepExpired, ServiceError, Unauthenticated
from auth_service.wiring import Services

REQUESTS = Counter("auth_requests", "Answered requests.", ["route", "method", "status"])
ERRORS = Counter("auth_refusals", "Requests answered with an error, by `error.code`.", ["code"])
SECONDS = Histogram(
    "auth_request_seconds",
    "Duration of requests, in seconds.",
    ["route"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5),
)
SECOND_STEPS = Counter("auth_second_steps", "Second steps of sign-ins, by method and outcome.", ["method", "outcome"])
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def observe(route: str, method: str, status: int, seconds: float) -> None:
    """Count one response and its duration."""
    counter, histogram = _series(route, method if method in METHODS else "other", status)
    counter.inc()
    histogram.observe(seconds)


@cache
def _series(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    """Return the time series of a response. Cached: `labels` costs as much as counting.

    The cache is bounded: routes come from the routing table, methods and statuses from short lists.
    """
    return REQUESTS.labels(route, method, str(status)), SECONDS.labels(route)


def observe_error(error: type[ServiceError]) -> None:
    """Count one error by its code: several errors share a status, but their causes and remedies differ."""
    _error_series(error.code).inc()


@cache
def _error_series(code: str) -> Counter:
    """Return the time series of an error code. Bounded by the number of error classes."""
    return ERRORS.labels(code)


@contextmanager
def second_step_outcome(method: str) -> Iterator[None]:
    """Count a second step of a sign-in: accepted, or not because of an error of the client."""
    try:
        yield
    except Unauthenticated as error:
        SECOND_STEPS.labels(method, "expired" if isinstance(error, SecondStepExpired) else "rejected").inc()
        raise
    SECOND_STEPS.labels(method, "accepted").inc()


DATABASE = ("auth_database_up", "auth_database_writable", "PostgreSQL")
REDIS = ("auth_redis_up", "auth_redis_writable", "Redis")
"""The gauges about a dependency itself, and its name."""


class OutboxCollector:
    """Gauges of the outbox and of the administrators, read from the database on each scrape."""

    def __init__(self, app: Flask) -> None:
        """`app` is the application whose database is read."""
        self._app = app

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges; while the database is unavailable, only the two about the database itself."""
        services: Services = self._app.extensions["auth_service"]
        try:
            with self._app.app_context(), unit_of_work():
                writable = accepts_writes()
                backlog = services.outbox.backlog()
                administrators = services.administrators.count()
        except ServiceError:
            yield from _up_and_writable(*DATABASE, up=False, writable=False)
            return
        yield from _up_and_writable(*DATABASE, up=True, writable=writable)
        yield GaugeMetricFamily("auth_administrators", "Administrators who can sign in.", value=administrators)
        yield GaugeMetricFamily("auth_outbox_waiting", "Emails that wait to be sent.", value=backlog.waiting)
        yield GaugeMetricFamily(
            "auth_outbox_lag_seconds",
            "Seconds since the oldest waiting email became due.",
            value=backlog.oldest.total_seconds(),
        )
        yield GaugeMetricFamily(
            "auth_outbox_dead", "Emails that failed for good in the last 24 hours.", value=backlog.dead
        )


class RedisCollector:
    """Gauges of Redis, read from it on each scrape."""

    def __init__(self, app: Flask) -> None:
        """`app` is the application whose Redis is read."""
        self._app = app

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges that Redis reports; while it is unavailable, only the two about Redis itself."""
        services: Services = self._app.extensions["auth_service"]
        try:
            writable = services.redis.accepts_writes()
            used = services.redis.memory_used()
            policy = services.redis.eviction_policy()
        except ServiceError:
            yield from _up_and_writable(*REDIS, up=False, writable=False)
            return
        yield from _up_and_writable(*REDIS, up=True, writable=writable)
        if used is not None:
            yield GaugeMetricFamily("auth_redis_used_memory_bytes", "Memory that Redis uses, in bytes.", value=used)
        yield GaugeMetricFamily(
            "auth_redis_evicts",
            "Whether Redis evicts keys when its memory is full; it must not.",
            value=int(policy not in (None, "noeviction")),
        )


def _up_and_writable(
    up_name: str, writable_name: str, title: str, *, up: bool, writable: bool
) -> Iterator[GaugeMetricFamily]:
    yield GaugeMetricFamily(up_name, f"Whether {title} answers.", value=int(up))
    yield GaugeMetricFamily(writable_name, f"Whether {title} accepts writes.", value=int(writable))


def serve(app: Flask, *, host: str, port: int) -> None:
    """Serve `/metrics` from a thread of this process, with the sum over its workers if there are any.

    Exits the process with a message if the port cannot be bound.
    """
    registry = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(REGISTRY)
    registry.register(OutboxCollector(app))
    registry.register(RedisCollector(app))
    try:
        start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise SystemExit(f"METRICS_PORT: {port} cannot be listened on: {error.strerror}") from None
