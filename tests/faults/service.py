"""The service under test in the production profile, on its own engines, and faults of PostgreSQL and Redis."""

import re
import secrets
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import psycopg2
import redis

from auth_service.embedded import engines, processes
from auth_service.embedded.engines import Engines, Server
from auth_service.settings import SECRETS
from tests.faults.account_client import AccountClient
from tests.faults.client import NoResponse, RegistrationClient, Response, expect_success, send_request
from tests.faults.programs import MANAGE, Program, free_port, kill, wait_until
from tests.support.smtp_sink import SmtpSink
from tests.support.smtp_sink_message import SinkMessage

MAX_CONNECTIONS = 3 * 5
"""PostgreSQL connections of two workers and one mail worker: four threads each, and one for the health check."""

HIGH_LIMITS = {
    f"LIMIT_{name}": "1000000/1m"
    for name in (
        "LOOK_UPS", "SIGN_UPS", "GUESSES", "CODE_REQUESTS", "CODES", "CODES_PER_NETWORK", "CODES_ALTOGETHER",
        "SIGN_INS", "FAILED_SIGN_INS", "REFRESHES", "EMAIL_CHANGES",
    )
}  # fmt: skip

SUBJECTS = {
    "sign_in_code": rb"is your code to sign in to ",
    "recovery_code": rb"is your code for a new password at ",
    "email_code": rb"is your code for a new address at ",
    "deletion_code": rb"is your code to delete ",
    "registration_code": rb"is your code for ",
}
"""The subject of an email after its code, for each email kind; the first match counts."""

Fault = Literal["refused", "frozen", "killed"]


@contextmanager
def inject_fault(server: Server, fault: Fault) -> Iterator[None]:
    """Stop, freeze or kill a server for the duration of the block."""
    {"refused": server.stop, "frozen": server.freeze, "killed": server.kill}[fault]()
    try:
        yield
    finally:
        {"refused": server.start, "frozen": server.thaw, "killed": server.start}[fault]()


@dataclass(kw_only=True)
class Service:
    """API and mail worker in the production profile, with their PostgreSQL, Redis and SMTP server."""

    folder: Path
    engines: Engines
    sink: SmtpSink
    port: int
    environment: dict[str, str]
    api: Program = field(init=False)
    mailer: Program = field(init=False)
    second_mailer: Program = field(init=False)
    _codes: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    _messages_read: int = 0
    _codes_lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.api = self.program("api", "api")
        self.mailer = self.program("mailer", "mail", "deliver")
        self.second_mailer = self.program("second_mailer", "mail", "deliver")

    def program(self, name: str, *arguments: str) -> Program:
        """A command of `manage.py` with the settings of this service."""
        return Program(command=[*MANAGE, *arguments], environment=self.environment, log=self.folder / f"{name}.log")

    def start_api(self, **changes: str) -> None:
        """Start the API and return when it is ready."""
        self.api.start(**changes)
        self.wait_until_ready()

    @contextmanager
    def another_api(self, **changes: str) -> Iterator[int]:
        """A second API on the same engines, with other settings; yields its port."""
        port = free_port()
        another = self.program("another_api", "api")
        another.start(HTTP_PORT=str(port), **changes)
        try:
            wait_until(lambda: self.status("/health/ready", port=port) == 200, within=60, what="another API is ready")
            yield port
        finally:
            another.stop()

    def restart_mailer(self, **changes: str) -> None:
        self.mailer.stop()
        self.mailer.start(**changes)

    def wait_until_mail_workers_run(self) -> None:
        """Wait until each mail worker that was started processes the queue."""
        for each in (self.mailer, self.second_mailer):
            if not each.ended:
                wait_until(partial(_has_started, each), within=60, what="the mail worker has started")

    def wait_until_ready(self) -> float:
        """Wait until the health check reports readiness; returns the seconds that this took."""

        def ready() -> bool:
            assert not self.api.ended, self.api.output()
            return self.status("/health/ready") == 200

        return wait_until(ready, within=60, what="the service is ready")

    def stop(self) -> None:
        """Kill every process that was started, in whatever state it is."""
        for program in (self.mailer, self.second_mailer, self.api):
            workers = [] if program.ended else self.workers(program)
            program.kill()
            for pid in workers:
                kill(pid)

    def workers(self, program: Program | None = None) -> list[int]:
        """The worker processes, which handle the requests."""
        master = (program or self.api).pid
        return [each.pid for each in processes.present() if each.parent == master]

    def registration_client(self, name: str, **options: Any) -> RegistrationClient:
        """A client with a new address, which begins with `name`."""
        return RegistrationClient(self.port, self.new_address(name), **options)

    def new_address(self, name: str) -> str:
        """An unused address, which begins with `name`."""
        return f"{name}-{secrets.token_hex(6)}@example.org"

    def has_endpoint(self, path: str) -> bool:
        """Whether the Swagger document has this path, relative to `/api`."""
        return path in self.get("/api/swagger.json").json["paths"]

    def get(self, path: str) -> Response:
        return send_request(self.port, "GET", path)

    def status(self, path: str, *, port: int | None = None) -> int:
        """The status of the response; 0 if there is none."""
        try:
            return send_request(port or self.port, "GET", path).status
        except NoResponse:
            return 0

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of one statement, in its own connection without a time limit."""
        connection = psycopg2.connect(self.engines.database_url.replace("+psycopg2", ""))
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def connections(self) -> int:
        """The number of connections between PostgreSQL and the service."""
        return int(self.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'auth-service'")[0][0])

    def outbox_rows(self, email: str) -> list[tuple[str, int, str | None]]:
        """State, attempts and last error of the emails to an address, oldest first."""
        return [
            (state, attempts, trouble)
            for state, attempts, trouble in self.sql(
                "SELECT state, attempts, trouble FROM letters WHERE recipient = %s ORDER BY created_at", email
            )
        ]

    def unexpected_errors(self) -> list[str]:
        """Log lines of API and mail workers about unexpected errors."""
        logs = [each.log.read_text() for each in (self.api, self.mailer, self.second_mailer) if each.log.exists()]
        return re.findall(r"^.*(?:crashed|stumbled|Traceback).*$", "\n".join(logs), re.MULTILINE)

    def flush_redis(self) -> None:
        with redis.Redis.from_url(self.engines.redis_url) as client:
            client.flushall()

    def codes(self, email: str, kind: str = "registration_code") -> list[str]:
        """The codes of one kind that were emailed to an address, oldest first."""
        with self._codes_lock:
            for message in self.sink.messages[self._messages_read :]:
                self._messages_read += 1
                if kind_and_code := code_of(message):
                    for recipient in message.recipients:
                        self._codes.setdefault((recipient, kind_and_code[0]), []).append(kind_and_code[1])
            return list(self._codes.get((email, kind), []))

    def newest_code(
        self, client: RegistrationClient, kind: str = "registration_code", *, number: int = 1, within: float = 10
    ) -> str:
        """Wait for `number` emails of a kind to the client; returns the code of the newest."""
        return self.newest_code_at(client.email, kind, number=number, within=within)

    def newest_code_at(self, email: str, kind: str, *, number: int = 1, within: float = 10) -> str:
        """Wait for `number` emails of a kind to an address; returns the code of the newest."""
        wait_until(lambda: len(self.codes(email, kind)) >= number, within=within, what=f"{number} emails arrived")
        return self.codes(email, kind)[-1]

    def client_with_code(self, name: str) -> tuple[RegistrationClient, str]:
        """A client that has signed up, and the code that was emailed to it."""
        client = self.registration_client(name)
        expect_success(client.sign_up)
        expect_success(client.send_code)
        return client, self.newest_code(client)

    def confirmed_client(self, name: str) -> RegistrationClient:
        """A client whose address is confirmed, before the last step of the registration."""
        client, code = self.client_with_code(name)
        expect_success(lambda: client.confirm_email(code))
        return client

    def account_client(self, name: str, *, password: str, **options: Any) -> AccountClient:
        """The client of a new user who has registered with a password."""
        client = AccountClient(self.port, self.new_address(name), **options)
        expect_success(client.sign_up)
        expect_success(client.send_code)
        expect_success(lambda: client.confirm_email(self.newest_code(client)))
        expect_success(lambda: client.finish(password))
        return client

    @classmethod
    @contextmanager
    def running(cls, folder: Path, *, template: Path, durable: bool, **settings: str) -> Iterator[Self]:
        """A ready service with a mail worker; all its processes end with the block."""
        subprocess.run(["cp", "-a", str(template), str(folder / "engines")], check=True)
        with ExitStack() as stack:
            started = stack.enter_context(engines.running(data_dir=folder / "engines", durable=durable))
            sink = stack.enter_context(SmtpSink())
            port = free_port()
            environment = {**production(started, sink, port=port), **settings}
            service = cls(folder=folder, engines=started, sink=sink, port=port, environment=environment)
            stack.callback(service.stop)
            service.mailer.start()
            service.start_api()
            yield service


def _has_started(mailer: Program) -> bool:
    return "the mail worker has started" in mailer.output()


def production(started: Engines, sink: SmtpSink, *, port: int) -> dict[str, str]:
    """The environment of a deployment, with rate limits out of reach and short leases."""
    return {
        "APP_ENV": "production",
        "HTTP_PORT": str(port),
        "WEB_WORKERS": "2",
        "PUBLIC_URL": "https://portal.example.org",
        "DATABASE_URL": started.database_url,
        "REDIS_URL": started.redis_url,
        "SMTP_URL": sink.url,
        "MAIL_FROM": "no-reply@portal.example.org",
        **{name.upper(): secrets.token_urlsafe(48) for name in SECRETS},
        "DRAIN_SECONDS": "1",
        "OUTBOX_LEASE_SECONDS": "2",
        "MAIL_TIMEOUT_SECONDS": "1",
        **HIGH_LIMITS,
    }


def make_template(folder: Path) -> None:
    """Create engines with a migrated database as a template: `initdb` takes longer than most tests."""
    with engines.running(data_dir=folder, durable=False) as started, SmtpSink() as sink:
        environment = production(started, sink, port=free_port())
        migration = Program(command=[*MANAGE, "db", "upgrade"], environment=environment, log=folder / "migrate.log")
        migration.start()
        try:
            assert migration.wait(60) == 0, migration.output()
        finally:
            migration.kill()


def code_of(message: SinkMessage) -> tuple[str, str] | None:
    """The kind of an email with a code, and the code from its subject; None for other emails."""
    subject = re.search(rb"^Subject: ([0-9]{6}) (.*)$", message.raw, re.MULTILINE)
    if subject is None:
        return None
    kind = next(kind for kind, pattern in SUBJECTS.items() if re.match(pattern, subject[2]))
    return kind, subject[1].decode()
