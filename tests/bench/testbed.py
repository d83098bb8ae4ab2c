"""Testbed of the benchmarks: engines, databases with users, and servers that run as in production."""

import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2

from auth_service.embedded import engines
from auth_service.embedded.engines import Engines
from auth_service.settings import SECRETS

ROOT = Path(__file__).parents[2]
START_WITHIN = 30.0
STOP_WITHIN = 20.0

OUT_OF_REACH = "1000000/1s"
LIMITS = {
    # The same number of windows as the defaults, so that counting costs the same; only the limits are out of reach.
    "LIMIT_LOOK_UPS": OUT_OF_REACH,
    "LIMIT_SIGN_UPS": f"{OUT_OF_REACH},1000000/2s",
    "LIMIT_GUESSES": OUT_OF_REACH,
    "LIMIT_CODE_REQUESTS": f"{OUT_OF_REACH},1000000/2s",
    "LIMIT_CODES_A_DAY": "1000000",
    "LIMIT_CODES_RESERVED": "0",
    "LIMIT_CODES_PER_NETWORK": f"{OUT_OF_REACH},1000000/2s",
    "LIMIT_CODES_ALTOGETHER": OUT_OF_REACH,
    "LIMIT_SIGN_INS": f"{OUT_OF_REACH},1000000/2s",
    "LIMIT_REFRESHES": OUT_OF_REACH,
    "LIMIT_SECOND_STEPS": OUT_OF_REACH,
    "LIMIT_ADMIN_READS": OUT_OF_REACH,
}

FILL = """
SET session_replication_role = replica;
SET synchronous_commit = off;
-- Ids in random order, so that the indexes are as scattered as in production.
INSERT INTO users (id, email, email_key, verified_mail, verified_at, language, created_at)
SELECT number * 5851543129231 %% 9007199254740992, 'person' || number || '@example.org',
  'person' || number || '@example.org', number %% 10 > 0, CASE WHEN number %% 10 > 0 THEN now() END, 'en',
  now() - number * interval '1 second'
FROM generate_series(1::bigint, %(users)s) AS number;
INSERT INTO user_roles (user_id, role)
SELECT id, CASE WHEN verified_mail THEN 'ROLE_PORTAL_USER' ELSE 'ROLE_TEMPORARY_USER' END FROM users;
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A running server."""

    process: "subprocess.Popen[bytes]"
    port: int

    @property
    def workers(self) -> list[int]:
        """The ids of the worker processes."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]


@dataclass(frozen=True, kw_only=True, slots=True)
class Testbed:
    """Running engines, and the databases and servers on them."""

    engines: Engines
    secrets: dict[str, str] = field(
        default_factory=lambda: {name.upper(): secrets.token_urlsafe(48) for name in SECRETS}, repr=False
    )

    def database(self, name: str, *, users: int) -> str:
        """Create a migrated database with users, `person1@example.org` and so on; returns its URL."""
        self.as_superuser(f'CREATE DATABASE "{name}" OWNER auth')
        url = urlsplit(self.engines.database_url)._replace(path=f"/{name}").geturl()
        command = [sys.executable, str(ROOT / "manage.py"), "db", "upgrade"]
        subprocess.run(command, env=self.environment(url), cwd=self.engines.data_dir, check=True)
        self.as_superuser(FILL % {"users": users}, "VACUUM ANALYZE users, user_roles", "CHECKPOINT", database=name)
        return url

    def service_key(self, database_url: str, name: str, scope: str) -> str:
        """Create a service key with one scope; returns it."""
        command = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), "service-keys", "create", name, "--scope", scope],
            env=self.environment(database_url),
            cwd=self.engines.data_dir,
            check=True,
            capture_output=True,
            text=True,
        )
        return command.stdout.strip()

    def as_superuser(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the superuser of the embedded PostgreSQL."""
        postgres = self.engines.postgres
        with closing(
            psycopg2.connect(
                host="127.0.0.1",
                port=postgres.port,
                user="postgres",
                password=postgres.superuser_password,
                dbname=database,
            )
        ) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)

    def environment(self, database_url: str, *, smtp_port: int = 9, root: Path = ROOT) -> dict[str, str]:
        """The settings of production with one database, without the environment of this process."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)]),
            "APP_ENV": "production",
            "DATABASE_URL": database_url,
            "REDIS_URL": self.engines.redis_url,
            "SMTP_URL": f"smtp://127.0.0.1:{smtp_port}",
            "MAIL_FROM": "no-reply@portal.example.org",
            "PUBLIC_URL": "https://portal.example.org",
            "WEB_WORKERS": "2",
            "WEB_THREADS": "4",
            "DRAIN_SECONDS": "0",
            "LOG_LEVEL": "WARNING",
            # The administrators of the measurements have no authenticator app; no other role makes sense here.
            "SECOND_FACTOR_ROLES": "ROLE_TEMPORARY_USER",
            **LIMITS,
            **self.secrets,
        }

    @contextmanager
    def service(self, database_url: str, *, root: Path = ROOT) -> Iterator[Server]:
        """The service of a checkout, started by `manage.py api` as in production; yields when it is ready."""
        environment = {**self.environment(database_url, root=root), "METRICS_PORT": str(free_port())}
        with self._serving([str(root / "manage.py"), "api"], environment, ready="/health/live") as server:
            yield server

    @contextmanager
    def local_run(self, data_dir: Path) -> Iterator[Server]:
        """The processes of `make run` with engines in a new folder; yields when the service is ready."""
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "APP_ENV": "local",
            "DATA_DIR": str(data_dir),
            "LOG_LEVEL": "WARNING",
        }
        with self._serving([str(ROOT / "manage.py"), "api"], environment, ready="/health/live") as server:
            yield server

    @contextmanager
    def floor(self, database_url: str) -> Iterator[Server]:
        """The floor with the gunicorn settings of the service."""
        command = ["-m", "gunicorn", "--config", str(Path(__file__).with_name("floor_gunicorn.py"))]
        with self._serving(command, self.environment(database_url), ready="/json?email=unknown") as server:
            yield server

    @contextmanager
    def _serving(self, command: Sequence[str], environment: dict[str, str], *, ready: str) -> Iterator[Server]:
        port = free_port()
        with self.running([sys.executable, *command], {**environment, "HTTP_PORT": str(port)}) as process:
            give_up_at = time.monotonic() + START_WITHIN
            while not is_successful(port, ready):
                if process.poll() is not None or time.monotonic() > give_up_at:
                    raise RuntimeError(f"{command[-1]} does not respond")
                time.sleep(0.005)
            yield Server(process=process, port=port)

    @contextmanager
    def running(self, command: Sequence[str], environment: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
        """A process that ends with this block, and on Linux also with this process."""
        setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
        prefix = [setpriv, "--pdeathsig=TERM"] if setpriv else []
        # The folder has no `.env` that could change the settings.
        process = subprocess.Popen(
            [*prefix, *command], env=environment, cwd=self.engines.data_dir, start_new_session=True
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextmanager
def set_up(folder: Path) -> Iterator[Testbed]:
    """Durable engines in a folder that exists only for this run."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    try:
        with engines.running(data_dir=folder, durable=True) as started:
            yield Testbed(engines=started)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def processor_seconds(pid: int) -> float:
    """The processor seconds of a process in user and kernel mode, with all its threads."""
    # The process name in parentheses may contain spaces (proc(5)); fields 14 and 15 are in clock ticks.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port of 127.0.0.1 that no process listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_successful(port: int, path: str) -> bool:
    """Whether a GET gets status 200."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
