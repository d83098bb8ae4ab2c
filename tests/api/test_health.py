"""Health checks: liveness, and readiness with all dependencies; and the Prometheus metrics."""

import re
import socket
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
import redis
from flask import Flask
from gunicorn.http.errors import LimitRequestLine

from auth_service.api.http import metrics
from auth_service.api.ops import draining
from auth_service.db.schema_version import head
from auth_service.errors import error_classes
from auth_service.server.client_socket import ClientSocket
from auth_service.server.gunicorn_worker import Worker
from auth_service.server.wsgi import _reasons_not_to_start, forget_connections, wait_for_dependencies
from auth_service.settings import Settings
from tests.support.actors import ApiClient
from tests.support.application import MakeApp
from tests.support.stores import Stores


def get(app: Flask, path: str) -> Any:
    """Request a path as a load balancer does."""
    return app.test_client().get(path)


@pytest.fixture
def nowhere(make_app: MakeApp) -> Flask:
    """An application whose database and Redis are unreachable."""
    return make_app(database_url="postgresql://auth@127.0.0.1:9/auth", redis_url="redis://127.0.0.1:9/0")


def test_the_service_is_live_and_ready(app: Flask) -> None:
    for path in ("/health/live", "/health/ready"):
        assert get(app, path).json == {"success": True, "result": "Ok"}


def test_the_service_is_live_but_not_ready_without_dependencies(nowhere: Flask) -> None:
    assert get(nowhere, "/health/live").status_code == 200
    not_ready = get(nowhere, "/health/ready")
    assert not_ready.status_code == 503
    assert not_ready.headers["Retry-After"] == "5"
    assert not_ready.json["error"] == {
        "code": "not_ready",
        "msg": "The service is not ready; send the request again after `retry_after` seconds.",
        "retry_after": 5,
    }


@contextmanager
def stamped(stores: Stores, revision: str) -> Iterator[None]:
    """A database with another schema revision."""
    with psycopg2.connect(stores.database_url.replace("+psycopg2", "")) as connection:
        cursor = connection.cursor()
        cursor.execute("UPDATE alembic_version SET version_num = %s", (revision,))
        connection.commit()
        try:
            yield
        finally:
            cursor.execute("UPDATE alembic_version SET version_num = %s", (head(),))
    connection.close()


@pytest.mark.parametrize("revision", ["0001", "9999"])
def test_the_service_is_not_ready_on_another_schema_revision(app: Flask, stores: Stores, revision: str) -> None:
    with stamped(stores, revision):
        assert get(app, "/health/ready").json["error"]["code"] == "not_ready"
    assert get(app, "/health/ready").status_code == 200


@pytest.mark.clock
def test_the_service_is_not_ready_when_no_mail_worker_delivers(app: Flask, stores: Stores) -> None:
    api = ApiClient(app)
    api.ask_for_code(api.sign_up("ada@example.org"), 7505)
    with psycopg2.connect(stores.database_url.replace("+psycopg2", "")) as connection:
        connection.cursor().execute("UPDATE letters SET next_attempt_at = now() - interval '6 minutes'")
    connection.close()

    assert get(app, "/health/ready").status_code == 503


@pytest.fixture
def evicting(stores: Stores, app: Flask) -> Any:
    """A Redis whose policy evicts keys when its memory is full."""
    with redis.Redis.from_url(stores.redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        yield
        client.config_set("maxmemory-policy", "noeviction")


def test_cd11_redis_eviction_makes_the_service_not_ready_and_stops_production(
    evicting: None, app: Flask, production: Flask
) -> None:
    assert get(app, "/health/ready").status_code == 503
    with app.app_context():
        assert _reasons_not_to_start(app.extensions["auth_service"]) == []
    with production.app_context():
        [problem] = _reasons_not_to_start(production.extensions["auth_service"])
    assert "allkeys-lru" in problem


def test_cd11_production_does_not_start_with_pending_migrations(production: Flask, stores: Stores) -> None:
    with stamped(stores, "0001"), production.app_context():
        [problem] = wait_for_dependencies(production.extensions["auth_service"])
    assert "migrations are pending" in problem


def test_a_start_waits_for_dependencies_for_a_bounded_time(nowhere: Flask) -> None:
    with nowhere.app_context():
        [problem] = wait_for_dependencies(nowhere.extensions["auth_service"], patience=timedelta(seconds=0.6))
    assert problem.startswith("DATABASE_URL: 127.0.0.1:")
    assert "refused the connection" in problem


def test_a_draining_service_is_live_but_not_ready(app: Flask) -> None:
    draining.start()
    try:
        assert get(app, "/health/ready").status_code == 503
        assert get(app, "/health/live").status_code == 200
    finally:
        draining._flag[0] = 0


def test_connections_are_not_shared_across_a_fork(app: Flask) -> None:
    assert get(app, "/health/ready").status_code == 200
    forget_connections(app)
    assert get(app, "/health/ready").status_code == 200


def free_port() -> int:
    """A port on which no process listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_metrics_report_requests_and_the_outbox(app: Flask) -> None:
    api = ApiClient(app)
    api.ask_for_code(api.sign_up("ada@example.org"), 7505)
    port = free_port()
    metrics.serve(app, host="127.0.0.1", port=port)

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
        text = response.read().decode()

    assert 'auth_requests_total{method="POST",route="/api/v1/users/sign_up",status="201"}' in text
    assert "auth_administrators 0.0" in text
    assert "auth_outbox_waiting 1.0" in text
    assert "auth_database_up 1.0" in text
    assert "auth_redis_up 1.0" in text
    assert "auth_redis_evicts 0.0" in text
    assert re.search(r"^auth_redis_used_memory_bytes [1-9]", text, re.MULTILINE)
    assert "ada@example.org" not in text


def errors_counted() -> dict[str, float]:
    """The number of responses with each error code so far."""
    [counter] = metrics.ERRORS.collect()
    return {sample.labels["code"]: sample.value for sample in counter.samples if sample.name == "auth_refusals_total"}


def test_metrics_count_errors_by_error_code(app: Flask) -> None:
    before = errors_counted()

    ApiClient(app).look_up("unknown@example.org")
    ApiClient(app).sign_in("unknown@example.org", "a wrong password")
    for path in ("/nowhere", "/api/v1/users/7505", "/hunter2"):
        get(app, path)
    here, there = socket.socketpair()
    with ClientSocket.take_over(here) as client, there:
        gunicorn: Any = SimpleNamespace(wsgi=app)
        Worker.handle_error(gunicorn, None, client, ("192.0.2.1", 1), LimitRequestLine(5000, 4094))

    counted = {code: number - before.get(code, 0) for code, number in errors_counted().items()}
    assert {code: number for code, number in counted.items() if number} == {
        "user_unknown": 1,
        "credentials_rejected": 1,
        "path_unknown": 3,
        "url_too_long": 1,
    }
    assert set(counted) <= {error_class.code for error_class in error_classes()}


def test_metrics_report_an_unreachable_database_and_redis(nowhere: Flask) -> None:
    for name, collector in (("database", metrics.OutboxCollector(nowhere)), ("redis", metrics.RedisCollector(nowhere))):
        gauges = {gauge.name: gauge.samples[0].value for gauge in collector.collect()}
        assert gauges == {f"auth_{name}_up": 0, f"auth_{name}_writable": 0}


def test_metrics_report_redis_eviction(evicting: None, app: Flask) -> None:
    values = {gauge.name: gauge.samples[0].value for gauge in metrics.RedisCollector(app).collect()}

    assert (values["auth_redis_up"], values["auth_redis_evicts"]) == (1, 1)


def test_the_swagger_page_can_be_disabled(make_app: MakeApp, make_settings: Callable[..., Settings]) -> None:
    closed = make_app(swagger_page=False)

    for path in ("/api/swagger", "/api/swagger.json"):
        assert get(closed, path).json["error"]["code"] == "path_unknown"
