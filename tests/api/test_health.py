"""Health: alive by itself, ready only with everything it needs; and what Prometheus is told."""

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
from auth_service.cli.docs import error_classes
from auth_service.db.schema_version import head
from auth_service.server.client_socket import ClientSocket
from auth_service.server.gunicorn_worker import Worker
from auth_service.server.wsgi import _troubles, forget_connections, wait_for_dependencies
from auth_service.settings import Settings
from tests.support.actors import ApiClient
from tests.support.application import MakeApp
from tests.support.stores import Stores


def get(app: Flask, path: str) -> Any:
    """Ask as a balancer does."""
    return app.test_client().get(path)


@pytest.fixture
def nowhere(make_app: MakeApp) -> Flask:
    """An application whose database and Redis are not there."""
    return make_app(database_url="postgresql://auth@127.0.0.1:9/auth", redis_url="redis://127.0.0.1:9/0")


def test_alive_and_ready(app: Flask) -> None:
    for path in ("/health/live", "/health/ready"):
        assert get(app, path).json == {"success": True, "result": "Ok"}


def test_alive_but_not_ready_without_dependencies(nowhere: Flask) -> None:
    assert get(nowhere, "/health/live").status_code == 200
    refused = get(nowhere, "/health/ready")
    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "5"
    assert refused.json["error"] == {
        "code": "not_ready",
        "msg": "The service is not ready; send the request again after `retry_after` seconds.",
        "retry_after": 5,
    }


@contextmanager
def stamped(stores: Stores, revision: str) -> Iterator[None]:
    """A database that claims to be at another revision."""
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
def test_not_ready_on_another_revision(app: Flask, stores: Stores, revision: str) -> None:
    with stamped(stores, revision):
        assert get(app, "/health/ready").json["error"]["code"] == "not_ready"
    assert get(app, "/health/ready").status_code == 200


@pytest.mark.clock
def test_not_ready_when_nobody_delivers(app: Flask, stores: Stores) -> None:
    api = ApiClient(app)
    api.ask_for_code(api.sign_up("ada@example.org"), 7505)
    with psycopg2.connect(stores.database_url.replace("+psycopg2", "")) as connection:
        connection.cursor().execute("UPDATE letters SET next_attempt_at = now() - interval '6 minutes'")
    connection.close()

    assert get(app, "/health/ready").status_code == 503


@pytest.fixture
def evicting(stores: Stores, app: Flask) -> Any:
    """A Redis that throws away what it holds when it is full."""
    with redis.Redis.from_url(stores.redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        yield
        client.config_set("maxmemory-policy", "noeviction")


def test_cd11_a_redis_that_evicts_is_not_ready_and_stops_production(
    evicting: None, app: Flask, production: Flask
) -> None:
    assert get(app, "/health/ready").status_code == 503
    with app.app_context():
        assert _troubles(app.extensions["auth_service"]) == []
    with production.app_context():
        [trouble] = _troubles(production.extensions["auth_service"])
    assert "allkeys-lru" in trouble


def test_cd11_production_does_not_start_with_pending_migrations(production: Flask, stores: Stores) -> None:
    with stamped(stores, "0001"), production.app_context():
        [trouble] = wait_for_dependencies(production.extensions["auth_service"])
    assert "migrations are pending" in trouble


def test_a_start_waits_for_dependencies_but_not_for_ever(nowhere: Flask) -> None:
    with nowhere.app_context():
        [trouble] = wait_for_dependencies(nowhere.extensions["auth_service"], patience=timedelta(seconds=0.6))
    assert trouble == "database_away: a dependency does not answer"


def test_a_stop_that_was_asked_for_shows_at_once(app: Flask) -> None:
    draining.start()
    try:
        assert get(app, "/health/ready").status_code == 503
        assert get(app, "/health/live").status_code == 200
    finally:
        draining._flag[0] = 0


def test_connections_are_not_shared_over_a_fork(app: Flask) -> None:
    assert get(app, "/health/ready").status_code == 200
    forget_connections(app)
    assert get(app, "/health/ready").status_code == 200


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_metrics_tell_of_requests_and_of_the_outbox(app: Flask) -> None:
    api = ApiClient(app)
    api.ask_for_code(api.sign_up("ada@example.org"), 7505)
    port = free_port()
    metrics.serve(app, host="127.0.0.1", port=port)

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()

    assert 'auth_requests_total{method="POST",route="/api/v1/users/sign_up",status="201"}' in text
    assert "auth_outbox_waiting 1.0" in text
    assert "auth_database_up 1.0" in text
    assert "auth_redis_up 1.0" in text
    assert "auth_redis_evicts 0.0" in text
    assert re.search(r"^auth_redis_used_memory_bytes [1-9]", text, re.MULTILINE)
    assert "ada@example.org" not in text


def refusals_counted() -> dict[str, float]:
    """How often each `error.code` was answered so far."""
    [counter] = metrics.ERRORS.collect()
    return {each.labels["code"]: each.value for each in counter.samples if each.name == "auth_refusals_total"}


def test_metrics_tell_refusals_of_one_status_apart(app: Flask) -> None:
    before = refusals_counted()

    ApiClient(app).look_up("nobody@example.org")
    ApiClient(app).sign_in("nobody@example.org", "a wrong password")
    for path in ("/nowhere", "/api/v1/users/7505", "/hunter2"):
        get(app, path)
    here, there = socket.socketpair()
    with ClientSocket.take_over(here) as client, there:
        gunicorn: Any = SimpleNamespace(wsgi=app)
        Worker.handle_error(gunicorn, None, client, ("192.0.2.1", 1), LimitRequestLine(5000, 4094))

    counted = {code: number - before.get(code, 0) for code, number in refusals_counted().items()}
    assert {code: number for code, number in counted.items() if number} == {
        "user_unknown": 1,
        "credentials_rejected": 1,
        "path_unknown": 3,
        "url_too_long": 1,
    }
    assert set(counted) <= {kind.code for kind in error_classes()}


def test_metrics_survive_a_database_that_is_away(nowhere: Flask) -> None:
    [up] = metrics.OutboxCollector(nowhere).collect()

    assert up.samples[0].value == 0
    [up] = metrics.RedisCollector(nowhere).collect()
    assert up.samples[0].value == 0


def test_metrics_tell_of_a_redis_that_evicts(evicting: None, app: Flask) -> None:
    found = {gauge.name: gauge.samples[0].value for gauge in metrics.RedisCollector(app).collect()}

    assert (found["auth_redis_up"], found["auth_redis_evicts"]) == (1, 1)


def test_the_swagger_page_can_be_closed(make_app: MakeApp, make_settings: Callable[..., Settings]) -> None:
    closed = make_app(swagger_page=False)

    for path in ("/api/swagger", "/api/swagger.json"):
        assert get(closed, path).json["error"]["code"] == "path_unknown"
