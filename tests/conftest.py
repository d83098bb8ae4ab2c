"""Real PostgreSQL, real Redis, migrated by Alembic; each test begins with both of them empty."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import hypothesis
import psycopg2
import psycopg2.sql
import pytest
import redis
from flask import Flask
from flask_migrate import upgrade

from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.app import create_app
from auth_service.cli.settings import read_settings
from auth_service.embedded import engines
from auth_service.settings import Settings
from auth_service.wiring import Services
from tests.actors import ApiClient, Mailbox

TEST_REDIS = 15
"""The logical database of tests in a Redis that the settings name: never the developer's."""

CODE_KEY = "tests-only-codes-0123456789-abcdefghijklmnopqrstuvwxyz"
OUTBOX_KEY = "tests-only-outbox-0123456789-abcdefghijklmnopqrstuvwxyz"
SESSION_KEY = "tests-only-session-0123456789-abcdefghijklmnopqrstuvwxyz"
KEYRING_KEY = "tests-only-keyring-0123456789-abcdefghijklmnopqrstuvwxyz"

BEFORE_MIDNIGHT = timedelta(seconds=30)
"""A test of the calendar takes less than this."""

# A time limit for each example would measure what else this machine does.
hypothesis.settings.register_profile("suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("suite")

MakeApp = Callable[..., Flask]
Query = Callable[..., list[tuple[Any, ...]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stores:
    """Where the tests of this run keep their data."""

    database_url: str
    redis_url: str


def pytest_configure() -> None:
    # What a developer exported for the service must not steer its tests.
    for name in Settings.model_fields:
        if name != "app_env":
            os.environ.pop(name.upper(), None)
    os.environ["APP_ENV"] = "test"


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """A database of this run's own: in the engines that `.env` names, or in embedded ones."""
    named = read_settings()
    if named.database_url and named.redis_url:
        server = urlsplit(named.database_url)
        name = f"{server.path.strip('/')}_tests_{os.getpid()}"
        with _database(named.database_url, name):
            yield Stores(
                database_url=urlunsplit(server._replace(path=f"/{name}")),
                redis_url=urlunsplit(urlsplit(named.redis_url)._replace(path=f"/{TEST_REDIS}")),
            )
        return
    with engines.running(data_dir=tmp_path_factory.mktemp("engines"), durable=False) as started:
        yield Stores(database_url=started.database_url, redis_url=started.redis_url)


class _database:  # noqa: N801 - reads as a verb where it is used
    def __init__(self, url: str, name: str) -> None:
        self._connection = psycopg2.connect(url.replace("+psycopg2", ""))
        self._connection.autocommit = True
        self._name = psycopg2.sql.Identifier(name)

    def _run(self, statement: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(psycopg2.sql.SQL(statement).format(self._name))

    def __enter__(self) -> None:
        self._run("CREATE DATABASE {}")

    def __exit__(self, *_: object) -> None:
        # A worker of autovacuum belongs to the superuser and cannot be terminated from here; it ends by itself.
        give_up_at = time.monotonic() + 30
        while True:
            try:
                self._run("DROP DATABASE {} WITH (FORCE)")
            except psycopg2.errors.InsufficientPrivilege:
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(0.1)
            else:
                break
        self._connection.close()


def settings_of(stores: Stores, data_dir: Path, **given: Any) -> Settings:
    """Settings over some stores; what is given wins."""
    base: dict[str, Any] = {
        "app_env": "test",
        "database_url": stores.database_url,
        "redis_url": stores.redis_url,
        "data_dir": data_dir,
        "code_key": CODE_KEY,
        "outbox_key": OUTBOX_KEY,
        "session_key": SESSION_KEY,
        "keyring_key": KEYRING_KEY,
    }
    if given.get("app_env") == "production":
        base |= {
            "smtp_url": "smtp://127.0.0.1:2525",
            "mail_from": "no-reply@portal.example.org",
            "public_url": "https://portal.example.org",
        }
    return Settings.read(env_file=None, **(base | given))


@pytest.fixture(scope="session")
def make_settings(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Settings]:
    """Makes settings over the stores of this run; what is given wins."""
    return partial(settings_of, stores, tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def make_app(make_settings: Callable[..., Settings]) -> Iterator[MakeApp]:
    """Makes applications over the migrated database of this run; equal settings share one."""
    make = Applications(make_settings)
    with make().app_context():
        upgrade()
    yield make
    make.let_go(beyond=0)


class Applications:
    """Applications, each made once for its settings."""

    def __init__(self, make_settings: Callable[..., Settings]) -> None:
        """`make_settings` completes what is given."""
        self._make_settings = make_settings
        self._made: dict[tuple[tuple[str, Any], ...], Flask] = {}

    def __call__(self, **given: Any) -> Flask:
        """The application whose settings are these."""
        key = tuple(sorted(given.items()))
        if key not in self._made:
            self._made[key] = create_app(self._make_settings(**given))
        return self._made[key]

    def let_go(self, *, beyond: int) -> None:
        """Close the connections that lie idle, if all applications together keep more than so many.

        PostgreSQL has a hundred for everybody, and a suite makes many applications, some with room for a crowd.
        """
        if sum(_idle_connections(app) for app in self._made.values()) > beyond:
            for app in self._made.values():
                forget(app)


def _idle_connections(app: Flask) -> int:
    from auth_service.db import db

    with app.app_context():
        pool: Any = db.engine.pool
        idle: int = pool.checkedin()
        return idle


def forget(app: Flask) -> None:
    """Close what an application opened."""
    from auth_service.db import db

    with app.app_context():
        db.engine.dispose()
    app.extensions["auth_service"].redis.close()


@pytest.fixture(autouse=True)
def _one_day(request: pytest.FixtureRequest) -> None:
    """Begin tests of the calendar after midnight if it is near: what they do then happens on one day, in one month."""
    if request.node.get_closest_marker("clock"):
        now = datetime.now(UTC)
        midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        if midnight - now < BEFORE_MIDNIGHT:
            time.sleep((midnight - now).total_seconds())


@pytest.fixture(autouse=True)
def _empty(request: pytest.FixtureRequest) -> Iterator[None]:
    """Empty both stores after each test that used them."""
    yield
    if "make_app" not in request.fixturenames:
        return
    request.getfixturevalue("make_app").let_go(beyond=50)
    stores: Stores = request.getfixturevalue("stores")
    with psycopg2.connect(stores.database_url.replace("+psycopg2", "")) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM letters; DELETE FROM users; DELETE FROM events; DELETE FROM service_keys")
    connection.close()
    with redis.Redis.from_url(stores.redis_url) as client:
        client.flushdb()


def asking(url: str) -> Query:
    """What runs a statement, with values if it takes some, beside the application, and commits."""

    def query(statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg2.connect(url.replace("+psycopg2", "")) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            rows = list(cursor.fetchall()) if cursor.description else []
        connection.close()
        return rows

    return query


@pytest.fixture
def query(stores: Stores) -> Query:
    """Runs a statement beside the application."""
    return asking(stores.database_url)


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """The application as developers run it: profile `test`."""
    return make_app()


@pytest.fixture
def production(make_app: MakeApp) -> Flask:
    """The application as strangers meet it."""
    return make_app(app_env="production")


@pytest.fixture
def crowded(make_app: MakeApp) -> Flask:
    """The application of profile `test` with room for fifty requests at once, and no limits.

    It has fewer connections than threads, so that several such applications fit into one PostgreSQL.
    """
    return make_app(rate_limits="off", web_threads=60, database_connections=25, hashes_at_once=4)


@pytest.fixture
def services(app: Flask) -> Services:
    """The services of `app`."""
    wired: Services = app.extensions["auth_service"]
    return wired


@pytest.fixture
def api(app: Flask) -> ApiClient:
    """Somebody with a browser, at the door of `app`."""
    return ApiClient(app)


@pytest.fixture
def mailbox(app: Flask, tmp_path: Path) -> Mailbox:
    """What arrives when the outbox of `app` is delivered."""
    return Mailbox(app, DevInbox(tmp_path / "inbox"))


@pytest.fixture
def mailbox_of_production(production: Flask, tmp_path: Path) -> Mailbox:
    """What arrives when the outbox of `production` is delivered."""
    return Mailbox(production, DevInbox(tmp_path / "inbox"))


@pytest.fixture
def forget_everything_in_redis(stores: Stores) -> Callable[[], None]:
    """Empties Redis, as a flush in the middle of everything would."""

    def forget_everything() -> None:
        with redis.Redis.from_url(stores.redis_url) as client:
            client.flushdb()

    return forget_everything
