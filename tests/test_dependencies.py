"""Failed connections to PostgreSQL and Redis: the reason in words, at once if only an operator can help, no secrets."""

import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg2
import pytest
import redis

from auth_service.adapters.postgres.connections import maintenance_engine
from auth_service.app import create_app
from auth_service.embedded import engines
from auth_service.server.wsgi import wait_for_dependencies
from auth_service.settings import Settings
from tests.support.application import forget, settings_of
from tests.support.certificates import write_certificate
from tests.support.commands import bare_environment
from tests.support.stores import Stores

pytestmark = pytest.mark.slow

MANAGE = Path(__file__).parents[1] / "manage.py"
SECRET = "Hunter2w-of-the-role"


@dataclass(frozen=True, kw_only=True)
class Places:
    """Addresses of real servers, of which some are broken."""

    postgres: str
    redis: str
    refusing: str
    silent: str
    other: str
    postgres_with_tls: str
    redis_with_tls: str


@contextmanager
def listener(answer: bytes | None, *, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server that accepts connections and never answers, or answers with these bytes, and then speaks TLS."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted: list[socket.socket] = []

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    accepted.append(connection)
                    if answer:
                        connection.recv(8)
                        connection.sendall(answer)
                    if tls:
                        with suppress(OSError):
                            tls.wrap_socket(connection, server_side=True)
                    if answer or tls:
                        connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        for connection in accepted:
            connection.close()


def _prepare(postgres: engines.Postgres) -> None:
    """Roles, a database that a role may not use, and a role that may only use TLS."""
    hba = postgres.folder / "pg_hba.conf"
    hba.write_text("hostnossl all only_tls all reject\n" + hba.read_text())
    connection = psycopg2.connect(
        f"postgresql://postgres:{postgres.superuser_password}@127.0.0.1:{postgres.port}/postgres"
    )
    connection.autocommit = True
    for statement in (
        f"CREATE ROLE portal LOGIN PASSWORD '{SECRET}'",
        f"CREATE ROLE only_tls LOGIN PASSWORD '{SECRET}'",
        f"CREATE ROLE no_login NOLOGIN PASSWORD '{SECRET}'",
        "CREATE DATABASE closed",
        "REVOKE CONNECT ON DATABASE closed FROM PUBLIC",
        "SELECT pg_reload_conf()",
    ):
        connection.cursor().execute(statement)
    connection.close()


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    folder = tmp_path_factory.mktemp("dependencies")
    # PostgreSQL from the wheel has no TLS, so a server that only shakes hands stands in for one with TLS.
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*write_certificate(folder, name="localhost"))
    with (
        engines.running(data_dir=folder, durable=False) as running,
        listener(None) as silent,
        listener(b"HTTP/1.1 400 Bad Request\r\n\r\n") as other,
        listener(b"S", tls=tls) as postgres_with_tls,
        listener(None, tls=tls) as redis_with_tls,
        socket.socket() as closed,
    ):
        _prepare(running.postgres)
        with redis.Redis.from_url(running.redis_url) as client:
            client.acl_setuser("idle", enabled=True, passwords=[f"+{SECRET}"], commands=["-@all"])
        closed.bind(("127.0.0.1", 0))
        yield Places(
            postgres=f"127.0.0.1:{running.postgres.port}",
            redis=f"127.0.0.1:{running.redis.port}",
            refusing=f"127.0.0.1:{closed.getsockname()[1]}",
            silent=silent,
            other=other,
            postgres_with_tls=postgres_with_tls,
            redis_with_tls=redis_with_tls,
        )


@pytest.fixture
def trouble(stores: Stores, tmp_path: Path, places: Places) -> Callable[..., str]:
    """The reason why the API cannot start with these settings."""

    def trouble_of(*, patience: float = 1.0, **urls: str) -> str:
        url = {name: value.format(secret=SECRET, **vars(places)) for name, value in urls.items()}
        app = create_app(settings_of(stores, tmp_path, **url))
        with app.app_context():
            [reason] = wait_for_dependencies(app.extensions["auth_service"], patience=timedelta(seconds=patience))
        forget(app)
        return reason

    return trouble_of


PERMANENT = 600.0
"""Patience, in seconds, that a permanent error must not use."""


@pytest.mark.parametrize(
    ("url", "reason", "patience"),
    [
        ("postgresql://portal:{secret}x@{postgres}/auth", "authentication failed for the user portal: ", PERMANENT),
        ("postgresql://nobody:{secret}@{postgres}/auth", "authentication failed for the user nobody", PERMANENT),
        ("postgresql://no_login:{secret}@{postgres}/auth", "the role no_login may not sign in", PERMANENT),
        ("postgresql://portal@{postgres}/auth", "requires a password for the user portal", PERMANENT),
        ("postgresql://portal:{secret}@{postgres}/missing", "the database missing does not exist", PERMANENT),
        ("postgresql://portal:{secret}@{postgres}/closed", "no CONNECT right on the database closed", PERMANENT),
        ("postgresql://only_tls:{secret}@{postgres}/auth?sslmode=disable", "only with TLS", PERMANENT),
        (
            "postgresql://portal:{secret}@{postgres_with_tls}/auth?sslmode=verify-full&sslrootcert=system",
            "the certificate of the server is not trusted",
            PERMANENT,
        ),
        ("postgresql://portal:{secret}@{postgres}/auth?sslmode=require", "does not offer TLS", PERMANENT),
        ("postgresql://portal:{secret}@{other}/auth?sslmode=require", "is not PostgreSQL", PERMANENT),
        (
            "postgresql://portal:{secret}@no-such-host.invalid/auth",
            "the host no-such-host.invalid is unknown",
            PERMANENT,
        ),
        (
            "postgresql://portal:{secret}@/auth?host=/missing",
            "no socket of PostgreSQL in the folder /missing",
            PERMANENT,
        ),
        ("postgresql://portal:{secret}@{postgres}/auth?host=/missing", "in the folder /missing", PERMANENT),
        ("postgresql://portal:{secret}@{postgres}/auth?user=nobody", "failed for the user nobody", PERMANENT),
        ("postgresql://portal:{secret}@a.invalid,b.invalid/auth", "the host a.invalid,b.invalid is unknown", PERMANENT),
        ("postgresql://portal:{secret}@{postgres}/auth?options=-cno_such=1", "a parameter of `options`", PERMANENT),
        (
            "postgresql://portal:{secret}@{postgres}/auth?target_session_attrs=standby",
            "has the state that the URL",
            0.1,
        ),
        ("postgresql://portal:{secret}@{refusing}/auth", "{refusing} refused the connection", 0.1),
        ("postgresql://portal:{secret}@{silent}/auth", "{silent} did not answer in time", 0.1),
    ],
)
def test_a_database_that_cannot_be_used_is_explained(
    url: str,
    reason: str,
    patience: float,
    trouble: Callable[..., str],
    places: Places,
    caplog: pytest.LogCaptureFixture,
) -> None:
    began = time.monotonic()
    explained = trouble(database_url=url, patience=patience)

    assert explained.startswith("DATABASE_URL: ")
    assert reason.format(**vars(places)) in explained
    assert SECRET not in explained + caplog.text
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("url", "reason", "patience"),
    [
        ("redis://:{secret}@{redis}/0", "authentication failed for the user default", PERMANENT),
        ("redis://nobody:{secret}@{redis}/0", "authentication failed for the user nobody", PERMANENT),
        ("redis://{redis}/0", "requires a password for the user default", PERMANENT),
        ("redis://idle:{secret}@{redis}/0", "the ACL denies a command to the user idle: ", PERMANENT),
        ("redis://portal:{secret}@no-such-host.invalid/0", "the host no-such-host.invalid is unknown", PERMANENT),
        ("rediss://:{secret}@{redis_with_tls}/0", "the certificate of the server is not trusted", PERMANENT),
        ("rediss://:{secret}@{redis}/0", "perhaps it does not speak TLS (redis://)", 0.1),
        ("redis://:{secret}@{other}/0", "is not Redis", PERMANENT),
        ("redis://:{secret}@{refusing}/0", "{refusing} refused the connection", 0.1),
        ("redis://:{secret}@{silent}/0", "{silent} did not answer in time", 0.1),
    ],
)
def test_a_redis_that_cannot_be_used_is_explained(
    url: str, reason: str, patience: float, trouble: Callable[..., str], places: Places, make_app: object,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    began = time.monotonic()
    explained = trouble(redis_url=url, patience=patience)

    assert explained.startswith("REDIS_URL: ")
    assert reason.format(**vars(places)) in explained
    assert SECRET not in explained + caplog.text
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    "command",
    [["db", "upgrade"], ["keys", "list"], ["mail", "deliver"], ["mail", "backlog"], ["maintenance"], ["api"]],
    ids=" ".join,
)
def test_every_command_explains_a_wrong_password(command: list[str], places: Places, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **bare_environment(),
        "APP_ENV": "test",
        "HTTP_PORT": str(port),
        "DATA_DIR": str(tmp_path),
        "DATABASE_URL": f"postgresql://portal:{SECRET}x@{places.postgres}/auth",
        "REDIS_URL": f"redis://{places.redis}/0",
    }

    result = subprocess.run(
        [sys.executable, str(MANAGE), *command],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    printed = result.stdout + result.stderr
    assert result.returncode == 1
    assert "DATABASE_URL: authentication failed for the user portal: the password is wrong" in printed
    assert "Traceback" not in printed
    assert SECRET not in printed


def test_connecting_for_migrations_has_a_time_limit(places: Places) -> None:
    with maintenance_engine(f"postgresql+psycopg2://a:b@{places.silent}/c") as engine:
        began = time.monotonic()
        with pytest.raises(Exception, match="did not answer in time"):
            engine.connect()
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    "command", [["keys", "list"], ["maintenance"], ["sessions", "revoke-all", "--yes"]], ids=" ".join
)
def test_an_unmigrated_database_is_explained(command: list[str], places: Places, tmp_path: Path) -> None:
    environment = {
        **bare_environment(),
        "APP_ENV": "test",
        "DATA_DIR": str(tmp_path),
        "DATABASE_URL": f"postgresql://portal:{SECRET}@{places.postgres}/auth",
        "REDIS_URL": f"redis://{places.redis}/0",
    }
    result = subprocess.run(
        [sys.executable, str(MANAGE), *command],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (result.returncode, result.stdout) == (1, "")
    assert "run `manage.py db upgrade`" in result.stderr
    assert "Traceback" not in result.stderr


def test_complete_settings_need_no_explanation(
    make_app: Callable[..., object], make_settings: Callable[..., Settings]
) -> None:
    app = create_app(make_settings())
    with app.app_context():
        assert wait_for_dependencies(app.extensions["auth_service"]) == []
    forget(app)
