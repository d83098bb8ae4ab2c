"""Real PostgreSQL, real Redis, migrated by Alembic; each test begins with both of them empty."""

import os
import time
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import hypothesis
import psycopg2
import psycopg2.sql
import pytest
import redis
from flask import Flask
from flask_migrate import upgrade

from auth_service.adapters.crypto.access_tokens import KeySet
from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.embedded import engines
from auth_service.settings import Settings
from auth_service.wiring import Services
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox
from tests.support.application import Applications, MakeApp, clear_environment, settings_of
from tests.support.conformance import report_not_produced, save_produced
from tests.support.crowds import patient_hashing
from tests.support.live import Live, live_server
from tests.support.stores import Query, Stores, asking, named_stores, redis_of_worker, temporary_database
from tests.support.undisturbed import TestProcesses, in_order_of_run

EMPTIED = (
    "letters",
    "users",
    "events",
    "events_forgotten",
    "audit_seals",
    "service_keys",
    "failure_slots",
    "idempotency_keys",
    "invitations",
)
"""The tables that are emptied after each test, in this order."""

BEFORE_MIDNIGHT = timedelta(seconds=30)
"""A test of the calendar takes less than this."""

# A time limit for each example would measure what else this machine does.
hypothesis.settings.register_profile("suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("suite")


TEST_PROCESSES = pytest.StashKey[TestProcesses]()
NOT_PRODUCED = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    clear_environment()
    config.stash[TEST_PROCESSES] = TestProcesses.of(config)


@pytest.hookimpl(trylast=True)  # after the other processes
def pytest_sessionfinish(session: pytest.Session) -> None:
    save_produced()
    if hasattr(session.config, "workerinput"):
        return
    session.config.stash[NOT_PRODUCED] = report_not_produced()
    if session.config.stash[NOT_PRODUCED]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    in_order_of_run(items)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around the time limit, which begins when the test does
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Hold the lock of the test processes; the controller of several processes runs no test."""
    processes = item.config.stash[TEST_PROCESSES]
    processes.begin(item)
    try:
        return (yield)
    finally:
        processes.end(item, nextitem)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """How many processes run the tests under `-n auto`: tests wait as much as they compute, so one more than cores.

    None beside this one where there is a single core, or where `.env` names the stores: some tests change settings of
    the whole server, and several workers need more connections than a PostgreSQL allows by default.
    """
    clear_environment()  # this hook runs before `pytest_configure`
    cores = os.cpu_count() or 1
    return 0 if cores == 1 or named_stores() else cores + 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures of the fault tests, wherever they ran, and the error codes that no test has produced."""
    for line in terminalreporter.config.stash.get(NOT_PRODUCED, []):
        terminalreporter.line(line, red=True)
    figures = [
        f"{report.nodeid.rpartition('::')[2]}: {line}"
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "teardown"
        for name, line in report.user_properties
        if name == "figures"
    ]
    if figures:
        terminalreporter.section("figures of the fault tests")
        for line in figures:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """A database of this process's own: in the engines that `.env` names, or in embedded ones."""
    if named := named_stores():
        server = urlsplit(named.database_url)
        name = f"{server.path.strip('/')}_tests_{os.getpid()}"
        with temporary_database(named.database_url, name):
            yield Stores(
                database_url=urlunsplit(server._replace(path=f"/{name}")),
                redis_url=urlunsplit(urlsplit(named.redis_url)._replace(path=f"/{redis_of_worker()}")),
            )
        return
    with engines.running(data_dir=tmp_path_factory.mktemp("engines"), durable=False) as started:
        yield Stores(database_url=started.database_url, redis_url=started.redis_url)


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


@pytest.fixture(scope="session")
def live(make_app: MakeApp, stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """gunicorn as production runs it; `make_app` has migrated its database."""
    with live_server(stores, tmp_path_factory.mktemp("live")) as started:
        yield started


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
        for table in EMPTIED:
            cursor.execute(f"DELETE FROM {table}")
        cursor.execute(
            "DELETE FROM roles WHERE NOT system; DELETE FROM role_permissions WHERE permission LIKE 'films:%'"
        )
    connection.close()
    with redis.Redis.from_url(stores.redis_url) as client:
        client.flushdb()


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
    """The application in the profile `production`."""
    return make_app(app_env="production")


@pytest.fixture
def crowded(make_app: MakeApp) -> Iterator[Flask]:
    """The application of profile `test` with room for fifty requests at once, and no limits.

    It has fewer connections than threads, so that several such applications fit into one PostgreSQL.
    """
    with patient_hashing(make_app(rate_limits="off", web_threads=60, database_connections=25, hashes_at_once=4)) as app:
        yield app


@pytest.fixture
def services(app: Flask) -> Services:
    """The services of `app`."""
    current: Services = app.extensions["auth_service"]
    return current


@pytest.fixture
def api(app: Flask) -> ApiClient:
    """An API client of `app`, with a cookie jar."""
    return ApiClient(app)


@pytest.fixture
def mailbox(app: Flask, tmp_path: Path) -> Mailbox:
    """What arrives when the outbox of `app` is delivered."""
    return Mailbox(app, DevInbox(tmp_path / "inbox"))


@pytest.fixture
def ada(api: ApiClient, mailbox: Mailbox) -> int:
    """Ada is a user of the portal, with a password."""
    return api.register(ADA, mailbox, password=PASSWORD)


@pytest.fixture
def token(ada: int, api: ApiClient) -> str:
    """Ada is signed in; this is her access token."""
    return str(api.signed_in(ADA, PASSWORD)["access_token"])


@pytest.fixture
def key_set(app: Flask, live: Live) -> KeySet:
    """The signing keys of the running service."""
    services: Services = app.extensions["auth_service"]
    with app.app_context():
        return services.signing_keys.for_verification()


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
