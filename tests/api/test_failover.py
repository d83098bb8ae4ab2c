"""Failover: a real PostgreSQL standby that is promoted, and a real Valkey replica; no process is restarted."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from flask import Flask
from flask_migrate import upgrade
from werkzeug.test import TestResponse

from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.api.http import metrics
from auth_service.app import create_app
from auth_service.embedded import engines
from auth_service.embedded.engines import Engines
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.application import forget, settings_of
from tests.support.failover import Name, Standby, administer, replica_of, standby_of
from tests.support.stores import Stores

pytestmark = [pytest.mark.slow, pytest.mark.undisturbed]


@pytest.fixture(scope="module")
def own_engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """Engines of this module, which it demotes."""
    with engines.running(data_dir=tmp_path_factory.mktemp("failover") / "engines", durable=False) as started:
        stores = Stores(database_url=started.database_url, redis_url=started.redis_url)
        app = create_app(settings_of(stores, started.data_dir / "data"))
        with app.app_context():
            upgrade()
        forget(app)
        yield started


@pytest.fixture
def served(own_engines: Engines, tmp_path: Path) -> Iterator[Callable[..., Flask]]:
    """Makes an application over these engines; what is given wins."""
    applications = []

    def make(*, database_url: str | None = None, redis_url: str | None = None) -> Flask:
        stores = Stores(
            database_url=database_url or own_engines.database_url, redis_url=redis_url or own_engines.redis_url
        )
        app = create_app(settings_of(stores, tmp_path, rate_limits="off", database_connections=3))
        applications.append(app)
        return app

    yield make
    for app in applications:
        forget(app)


def within(seconds: float, condition: Callable[[], bool]) -> float:
    """Wait for a condition; return for how long."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        time.sleep(0.02)
    return time.monotonic() - began


def check_refused(answer: TestResponse) -> None:
    """The answer to a write."""
    assert (answer.status_code, refusal(answer)["code"]) == (503, "database_read_only"), answer.text
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_primary_that_is_made_read_only_under_open_connections(
    own_engines: Engines, served: Callable[..., Flask], tmp_path: Path
) -> None:
    app = served()
    api, mailbox = ApiClient(app), Mailbox(app, DevInbox(tmp_path / "inbox"))
    api.register("reader@example.org", mailbox, password=PASSWORD)
    token = str(api.signed_in("reader@example.org", PASSWORD)["access_token"])
    primary = own_engines.postgres
    administer(primary, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    try:
        within(5, lambda: administer(primary, "SHOW default_transaction_read_only") == [("on",)])
        for number in range(5):
            check_refused(api.call("POST", "/sign_up", json={"email": f"new{number}@example.org"}))
            assert api.is_signed_in(token)
        assert app.test_client().get("/health/ready").json["data"] == {"database": "read_only"}  # type: ignore[index]
    finally:
        administer(
            primary,
            "SET default_transaction_read_only = off",
            "ALTER SYSTEM RESET default_transaction_read_only",
            "SELECT pg_reload_conf()",
        )
    within(5, lambda: api.call("POST", "/sign_up", json={"email": "new@example.org"}).status_code == 201)


def urls(primary: Engines, standby: Standby) -> dict[str, str]:
    """The two forms of a URL with both servers."""
    login, _, _ = primary.database_url.removeprefix("postgresql+psycopg2://").rpartition("@")
    hosts = [f"127.0.0.1:{port}" for port in (primary.postgres.port, standby.port)]
    return {
        "libpq": f"postgresql://{login}@{','.join(hosts)}/auth?target_session_attrs=read-write",
        "parameters": f"postgresql://{login}@/auth?host={hosts[0]}&host={hosts[1]}&target_session_attrs=read-write",
    }


@pytest.mark.parametrize("form", ["libpq", "parameters"])
def test_reads_go_on_with_a_standby_and_writes_with_the_promoted_one(
    form: str, own_engines: Engines, served: Callable[..., Flask], tmp_path: Path
) -> None:
    primary = own_engines.postgres
    with standby_of(primary, tmp_path / "standby") as standby:
        app = served(database_url=urls(own_engines, standby)[form])
        api, mailbox = ApiClient(app), Mailbox(app, DevInbox(tmp_path / "inbox"))
        api.register(f"{form}@example.org", mailbox, password=PASSWORD)
        pair = api.signed_in(f"{form}@example.org", PASSWORD)
        token = str(pair["access_token"])
        replayed = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        [(written,)] = administer(primary, "SELECT pg_current_wal_lsn()::text")
        within(10, lambda: administer(standby, replayed.replace("%s", f"'{written}'")) == [(True,)])

        primary.stop()
        try:
            within(5, lambda: app.test_client().get("/health/ready").status_code == 200)
            for number in range(5):
                assert api.is_signed_in(token), "by the standby"
                check_refused(api.call("POST", "/sign_up", json={"email": f"{form}{number}@example.org"}))
            assert app.test_client().get("/health/ready").json["data"] == {"database": "read_only"}  # type: ignore[index]
            gauges = {gauge.name: gauge.samples[0].value for gauge in metrics.OutboxCollector(app).collect()}
            assert gauges["auth_database_writable"] == 0

            standby.promote()
            took = within(5, lambda: api.refresh(str(pair["refresh_token"])).status_code == 200)
            assert took < 5
            # The old primary comes back as a standby, and is the first server of the URL.
            (primary.folder / "standby.signal").touch()
            primary.start()
            forget(app)
            assert api.call("POST", "/sign_up", json={"email": f"{form}-last@example.org"}).status_code == 201
            within(5, lambda: app.test_client().get("/health/ready").json == {"success": True, "result": "Ok"})
        finally:
            primary.stop()
            (primary.folder / "standby.signal").unlink(missing_ok=True)
            primary.start()


def test_a_frozen_primary_does_not_keep_the_service_from_the_promoted_standby(
    own_engines: Engines, served: Callable[..., Flask], tmp_path: Path
) -> None:
    primary = own_engines.postgres
    with standby_of(primary, tmp_path / "standby") as standby:
        app = served(database_url=urls(own_engines, standby)["libpq"])
        api = ApiClient(app)
        assert api.call("POST", "/sign_up", json={"email": "before@example.org"}).status_code == 201
        primary.freeze()
        try:
            standby.promote()
            took = within(
                8, lambda: api.call("POST", "/sign_up", json={"email": "after@example.org"}).status_code == 201
            )
            assert took < 5
            began = time.monotonic()
            forget(app)
            assert api.look_up("after@example.org").status_code == 200
            assert time.monotonic() - began < 0.5, "the server that accepted writes last is asked first"
        finally:
            primary.thaw()


def test_codes_wait_for_a_redis_primary_and_everything_else_goes_on(
    own_engines: Engines, served: Callable[..., Flask], tmp_path: Path
) -> None:
    primary = own_engines.redis
    with replica_of(primary, tmp_path / "replica") as replica:
        name = Name(primary.port)
        app = served(redis_url=replace(primary, port=name.port).url)
        api, mailbox = ApiClient(app), Mailbox(app, DevInbox(tmp_path / "inbox"))
        api.register(ADA, mailbox, password=PASSWORD)
        with redis.Redis.from_url(primary.url) as old, redis.Redis.from_url(replica.url) as new:
            within(10, lambda: new.info("replication")["master_link_status"] == "up")
            new.replicaof("NO", "ONE")
            old.config_set("primaryauth", replica.password)
            old.replicaof("127.0.0.1", replica.port)
            try:
                for _ in range(3):
                    refused = api.ask_to_sign_in(ADA)
                    assert (refused.status_code, refusal(refused)["code"]) == (503, "redis_away"), refused.text
                    assert int(refused.headers["Retry-After"]) >= 1
                    assert api.sign_in(ADA, PASSWORD).status_code == 200
                ready = app.test_client().get("/health/ready")
                assert (ready.status_code, ready.json["data"]) == (200, {"redis": "read_only"})  # type: ignore[index]
                gauges = {gauge.name: gauge.samples[0].value for gauge in metrics.RedisCollector(app).collect()}
                assert (gauges["auth_redis_up"], gauges["auth_redis_writable"]) == (1, 0)

                name.leads_to = replica.port
                statuses = [api.ask_to_sign_in(ADA).status_code for _ in range(8)]
                assert statuses.count(503) <= 1, "one refused command is enough to connect again"
                assert set(statuses) <= {200, 503}
                assert app.test_client().get("/health/ready").json == {"success": True, "result": "Ok"}
            finally:
                old.replicaof("NO", "ONE")
                forget(app)
                name.shutdown()
                name.server_close()
