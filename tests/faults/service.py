"""The service as production runs it, on engines of its own, with ways to break what it depends on."""

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
from tests.faults.client import Answer, CurrentUser, Unanswered, ask, good
from tests.faults.members import Member
from tests.faults.programs import MANAGE, Program, free_port, kill, wait_until
from tests.support.fakes import SinkMessage, SmtpSink

MOST_CONNECTIONS = 3 * 5
"""What two workers and a mailer may have open at PostgreSQL: four threads each, and one for health."""

GENEROUS = {
    f"LIMIT_{name}": "1000000/1m"
    for name in (
        "LOOK_UPS", "SIGN_UPS", "GUESSES", "CODE_REQUESTS", "CODES_PER_NETWORK", "CODES_ALTOGETHER",
        "SIGN_INS", "FAILED_SIGN_INS", "REFRESHES", "EMAIL_CHANGES",
    )
} | {"LIMIT_CODES_RESERVED": "0"}  # fmt: skip

KINDS = {
    "sign_in_code": rb"is your code to sign in to ",
    "recovery_code": rb"is your code for a new password at ",
    "email_code": rb"is your code for a new address at ",
    "deletion_code": rb"is your code to delete ",
    "registration_code": rb"is your code for ",
}
"""How the subject of each letter with a code goes on after the code; the first that fits."""

Fault = Literal["refused", "frozen", "killed"]


@contextmanager
def broken(server: Server, how: Fault) -> Iterator[None]:
    """A server that is stopped, frozen or killed, and that is back afterwards."""
    {"refused": server.stop, "frozen": server.freeze, "killed": server.kill}[how]()
    try:
        yield
    finally:
        {"refused": server.start, "frozen": server.thaw, "killed": server.start}[how]()


@dataclass(kw_only=True)
class Service:
    """API and mailer under the production profile, and everything that they talk to."""

    folder: Path
    engines: Engines
    sink: SmtpSink
    port: int
    environment: dict[str, str]
    api: Program = field(init=False)
    mailer: Program = field(init=False)
    second_mailer: Program = field(init=False)
    _codes: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    _read: int = 0
    _reading: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.api = self.program("api", "api")
        self.mailer = self.program("mailer", "mail", "deliver")
        self.second_mailer = self.program("second_mailer", "mail", "deliver")

    def program(self, name: str, *words: str) -> Program:
        """One of the commands of `manage.py`, with the settings of this service."""
        return Program(command=[*MANAGE, *words], environment=self.environment, log=self.folder / f"{name}.log")

    def start_api(self, **changes: str) -> None:
        """Start the API and return when it is ready."""
        self.api.start(**changes)
        self.wait_until_ready()

    @contextmanager
    def another_api(self, **changes: str) -> Iterator[int]:
        """A second API over the same engines, with other settings; gives its port."""
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

    def wait_until_mailing(self) -> None:
        """Wait until the mailers that were started are at work."""
        for each in (self.mailer, self.second_mailer):
            if not each.ended:
                wait_until(partial(_is_at_work, each), within=60, what="the mailer is at work")

    def wait_until_ready(self) -> float:
        """Wait until the service says that it is; returns after how many seconds it did."""

        def ready() -> bool:
            assert not self.api.ended, self.api.said()
            return self.status("/health/ready") == 200

        return wait_until(ready, within=60, what="the service is ready")

    def stop(self) -> None:
        """End everything that was started, however it is."""
        for program in (self.mailer, self.second_mailer, self.api):
            workers = [] if program.ended else self.workers(program)
            program.kill()
            for pid in workers:
                kill(pid)

    def workers(self, program: Program | None = None) -> list[int]:
        """The processes that answer requests."""
        master = (program or self.api).pid
        return [each.pid for each in processes.present() if each.parent == master]

    def caller(self, name: str, **options: Any) -> CurrentUser:
        """A new user; the address begins with `name`."""
        return CurrentUser(self.port, self.new_address(name), **options)

    def new_address(self, name: str) -> str:
        """An address that nobody has; it begins with `name`."""
        return f"{name}-{secrets.token_hex(6)}@example.org"

    def knows(self, path: str) -> bool:
        """Whether there is this path, relative to `/api`, on the Swagger page."""
        return path in self.get("/api/swagger.json").json["paths"]

    def get(self, path: str) -> Answer:
        return ask(self.port, "GET", path)

    def status(self, path: str, *, port: int | None = None) -> int:
        """The status of an answer; 0 for none."""
        try:
            return ask(port or self.port, "GET", path).status
        except Unanswered:
            return 0

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What one statement answers, in a connection of its own that waits as long as it takes."""
        connection = psycopg2.connect(self.engines.database_url.replace("+psycopg2", ""))
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def connections(self) -> int:
        """How many connections PostgreSQL has with the service."""
        return int(self.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'auth-service'")[0][0])

    def letters(self, email: str) -> list[tuple[str, int, str | None]]:
        """State, attempts and trouble of the letters to an address, the oldest first."""
        return [
            (state, attempts, trouble)
            for state, attempts, trouble in self.sql(
                "SELECT state, attempts, trouble FROM letters WHERE recipient = %s ORDER BY created_at", email
            )
        ]

    def crashes(self) -> list[str]:
        """What API and mailers logged of errors that they did not expect."""
        said = [each.log.read_text() for each in (self.api, self.mailer, self.second_mailer) if each.log.exists()]
        return re.findall(r"^.*(?:crashed|stumbled|Traceback).*$", "\n".join(said), re.MULTILINE)

    def flush_redis(self) -> None:
        with redis.Redis.from_url(self.engines.redis_url) as client:
            client.flushall()

    def codes(self, email: str, kind: str = "registration_code") -> list[str]:
        """The codes of one kind that came for an address, in the order in which they came."""
        with self._reading:
            for message in self.sink.messages[self._read :]:
                self._read += 1
                if found := code_in(message):
                    for recipient in message.recipients:
                        self._codes.setdefault((recipient, found[0]), []).append(found[1])
            return list(self._codes.get((email, kind), []))

    def code_for(
        self, caller: CurrentUser, kind: str = "registration_code", *, number: int = 1, within: float = 10
    ) -> str:
        """The code of the newest letter of a kind, once there are `number` of them."""
        return self.code_at(caller.email, kind, number=number, within=within)

    def code_at(self, email: str, kind: str, *, number: int = 1, within: float = 10) -> str:
        """The same, at any address."""
        wait_until(lambda: len(self.codes(email, kind)) >= number, within=within, what=f"{number} letters came")
        return self.codes(email, kind)[-1]

    def with_code(self, name: str) -> tuple[CurrentUser, str]:
        """A user who has a code at hand."""
        caller = self.caller(name)
        good(caller.sign_up)
        good(caller.send_code)
        return caller, self.code_for(caller)

    def confirmed(self, name: str) -> CurrentUser:
        """A user whose address is confirmed, and who has not finished yet."""
        caller, code = self.with_code(name)
        good(lambda: caller.mail(code))
        return caller

    def member(self, name: str, *, password: str, **options: Any) -> Member:
        """A new user who has registered with a password."""
        member = Member(self.port, self.new_address(name), **options)
        good(member.sign_up)
        good(member.send_code)
        good(lambda: member.mail(self.code_for(member)))
        good(lambda: member.finish(password))
        return member

    @classmethod
    @contextmanager
    def running(cls, folder: Path, *, template: Path, durable: bool, **settings: str) -> Iterator[Self]:
        """A service that is ready, with a mailer at work. Nothing of it is left afterwards."""
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


def _is_at_work(mailer: Program) -> bool:
    return "the mail worker has started" in mailer.said()


def production(started: Engines, sink: SmtpSink, *, port: int) -> dict[str, str]:
    """The environment of a deployment, with limits that virtual users do not meet and leases that are over soon."""
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
        **GENEROUS,
    }


def make_template(folder: Path) -> None:
    """Engines with a migrated database, to be copied: making a cluster takes longer than most tests."""
    with engines.running(data_dir=folder, durable=False) as started, SmtpSink() as sink:
        environment = production(started, sink, port=free_port())
        migration = Program(command=[*MANAGE, "db", "upgrade"], environment=environment, log=folder / "migrate.log")
        migration.start()
        try:
            assert migration.wait(60) == 0, migration.said()
        finally:
            migration.kill()


def code_in(message: SinkMessage) -> tuple[str, str] | None:
    """The kind of a letter with a code, and the code at the beginning of its subject; None for other letters."""
    found = re.search(rb"^Subject: ([0-9]{6}) (.*)$", message.raw, re.MULTILINE)
    if found is None:
        return None
    kind = next(kind for kind, words in KINDS.items() if re.match(words, found[2]))
    return kind, found[1].decode()
