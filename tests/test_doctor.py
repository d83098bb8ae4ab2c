"""`manage.py doctor`: real engines, healthy and broken ones; lines for a person, JSON, exit status, no secrets."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redis
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from aiosmtpd.smtp import SMTP

from auth_service.embedded import engines
from tests.support.commands import bare_environment
from tests.support.stores import CODE_KEY, KEYRING_KEY, OUTBOX_KEY, SECOND_FACTOR_KEY, SESSION_KEY

pytestmark = pytest.mark.slow

MANAGE = Path(__file__).parents[1] / "manage.py"
SECRET = "Hunter2w-of-the-role"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one run of the command printed."""

    status: int
    findings: list[dict[str, str]]
    printed: str

    def text(self, state: str, check: str) -> str:
        """The findings of a check that have this state."""
        return "\n".join(
            finding["text"] for finding in self.findings if (finding["state"], finding["check"]) == (state, check)
        )

    @property
    def failures(self) -> set[str]:
        """The checks that failed."""
        return {finding["check"] for finding in self.findings if finding["state"] == "failure"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[engines.Engines]:
    with engines.running(data_dir=tmp_path_factory.mktemp("doctor"), durable=False) as started:
        environment = {"APP_ENV": "test", "DATABASE_URL": started.database_url, "REDIS_URL": started.redis_url}
        subprocess.run(
            [sys.executable, str(MANAGE), "db", "upgrade"],
            cwd=tmp_path_factory.mktemp("upgrade"),
            env=bare_environment(**environment),
            check=True,
            stdout=subprocess.DEVNULL,
        )
        yield started


@pytest.fixture(scope="module")
def admin(running: engines.Engines) -> Callable[..., None]:
    """Runs statements as the superuser."""

    def run(*statements: str) -> None:
        connection = psycopg2.connect(
            f"postgresql://postgres:{running.postgres.superuser_password}@127.0.0.1:{running.postgres.port}/auth"
        )
        connection.autocommit = True
        for statement in statements:
            connection.cursor().execute(statement)
        connection.close()

    return run


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def doctor(running: engines.Engines, tmp_path: Path) -> Callable[..., Report]:
    """Runs the command with these settings."""
    base = {
        **bare_environment(),
        "APP_ENV": "test",
        "HTTP_PORT": str(free_port()),
        "DATABASE_URL": running.database_url,
        "REDIS_URL": running.redis_url,
        "DATA_DIR": str(tmp_path / "data"),
    }

    def run(*arguments: str, **settings: str) -> Report:
        result = subprocess.run(
            [sys.executable, str(MANAGE), "doctor", *(arguments or ("--json",))],
            env={**base, **settings}, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        printed = result.stdout + result.stderr
        assert "Traceback" not in printed
        for secret in (SECRET, running.postgres.password, running.redis.password, CODE_KEY):
            assert secret not in printed
        body: dict[str, Any] = json.loads(result.stdout) if not arguments else {"findings": []}
        assert body.get("healthy", result.returncode == 0) == (result.returncode == 0)
        return Report(status=result.returncode, findings=body["findings"], printed=printed)

    return run


def test_a_healthy_deployment_passes_every_check(doctor: Callable[..., Report]) -> None:
    report = doctor()

    assert (report.status, report.failures) == (0, set())
    assert {finding["check"] for finding in report.findings} == {
        "settings", "database", "redis", "smtp", "clocks", "proxies", "ports"
    }  # fmt: skip
    database = report.text("ok", "database")
    for expected in ("PostgreSQL 18", "role auth", "schema public", "time zone", "migrations: current", "rights: "):
        assert expected in database
    assert "noeviction" in report.text("ok", "redis")
    assert "standalone" in report.text("ok", "redis")
    lines = doctor("--help"), doctor("--json", "--help")
    assert all("Exits with status 1" in each.printed for each in lines)


def test_the_lines_are_read_by_a_person(
    doctor: Callable[..., Report], running: engines.Engines, tmp_path: Path
) -> None:
    environment = {
        **bare_environment(),
        "APP_ENV": "test",
        "DATABASE_URL": running.database_url.replace(running.postgres.password, SECRET),
        "REDIS_URL": running.redis_url,
        "DATA_DIR": str(tmp_path),
    }
    result = subprocess.run(
        [sys.executable, str(MANAGE), "doctor"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    lines = result.stdout.splitlines()
    assert result.returncode == 1
    assert lines[0] == "ok    settings  APP_ENV=test; every value is valid"
    assert lines[1] == "FAIL  database  DATABASE_URL: authentication failed for the user auth: the password is wrong"
    assert lines[-1] == "Correct the lines with FAIL."
    assert SECRET not in result.stdout


def test_every_invalid_setting_is_a_line(doctor: Callable[..., Report]) -> None:
    report = doctor(DATABASE_URL=f"postgresql://a:p@ss:{SECRET}/x@h/d", REDIS_URL="http://x", SMPT_URL="x")

    assert report.status == 1
    names = [finding["text"].split(":")[0] for finding in report.findings]
    assert sorted(names) == ["DATABASE_URL", "REDIS_URL", "SMPT_URL"]


def test_a_role_without_rights_and_a_read_only_server_are_named(
    doctor: Callable[..., Report], running: engines.Engines, admin: Callable[..., None]
) -> None:
    admin(f"CREATE ROLE poor LOGIN PASSWORD '{SECRET}'", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO poor")
    poor = f"postgresql://poor:{SECRET}@127.0.0.1:{running.postgres.port}/auth"

    lacking = doctor(DATABASE_URL=poor)
    read_only = doctor(DATABASE_URL=f"{running.database_url}?options=-cdefault_transaction_read_only%3Don")
    unmigrated = doctor(DATABASE_URL=running.database_url.removesuffix("/auth") + "/postgres")
    migrating = doctor(MIGRATION_DATABASE_URL=poor)

    assert "the role poor lacks users: DELETE, INSERT, UPDATE" in lacking.text("failure", "database")
    assert "may not read and append the audit log" in lacking.text("failure", "database")
    assert "the server is read-only" in read_only.text("failure", "database")
    assert "migrations are pending" in unmigrated.text("failure", "database")
    assert "MIGRATION_DATABASE_URL: the role poor may not create tables" in migrating.text("failure", "database")
    assert {report.status for report in (lacking, read_only, unmigrated, migrating)} == {1}


def test_eviction_and_a_narrow_acl_are_named(doctor: Callable[..., Report], running: engines.Engines) -> None:
    rights = {
        "enough": ["+@all", "-@dangerous", "-@admin"],
        "narrow": ["+@all", "-hincrby", "-lpush"],
        "scriptless": ["+@all", "-@scripting"],
    }
    with redis.Redis.from_url(running.redis_url) as client:
        for name, commands in rights.items():
            client.acl_setuser(name, enabled=True, passwords=[f"+{SECRET}"], keys=["auth:*"], commands=commands)
        client.acl_setuser("keyless", enabled=True, passwords=[f"+{SECRET}"], keys=["x:*"], commands=["+@all"])
    url = "redis://{}:" + f"{SECRET}@127.0.0.1:{running.redis.port}/0"

    enough, narrow, scriptless, keyless = (
        doctor(REDIS_URL=url.format(name)) for name in ("enough", "narrow", "scriptless", "keyless")
    )

    assert enough.failures == set()
    assert "does not tell its maxmemory-policy" in enough.text("warning", "redis")
    assert "needed: HINCRBY, LPUSH on" in narrow.text("failure", "redis")
    assert "needed: EVAL, EVALSHA on" in scriptless.text("failure", "redis")
    assert "needed: SET, GET, " in keyless.text("failure", "redis")
    with redis.Redis.from_url(running.redis_url) as client:
        assert client.keys("auth:doctor:*") == []
        client.config_set("maxmemory-policy", "allkeys-lru")
        evicting = doctor()
        client.config_set("maxmemory-policy", "noeviction")
    assert "maxmemory-policy is allkeys-lru" in evicting.text("warning", "redis")


def test_a_mail_server_is_asked_without_sending(doctor: Callable[..., Report]) -> None:
    class Refusing(SMTP):
        async def smtp_MAIL(self, arg: str) -> None:  # noqa: N802 - a hook of aiosmtpd
            await self.push("550 not yours")

    class RefusingController(Controller):
        def factory(self) -> SMTP:
            return Refusing(self.handler)

    ports = free_port(), free_port()
    accepting, refusing = (
        Controller(Sink(), hostname="127.0.0.1", port=ports[0]),
        RefusingController(Sink(), hostname="127.0.0.1", port=ports[1]),
    )
    for controller in (accepting, refusing):
        controller.start()
    try:
        good, bad = (doctor(SMTP_URL=f"smtp://127.0.0.1:{port}", MAIL_FROM="no-reply@example.org") for port in ports)
        no_tls = doctor(SMTP_URL=f"smtp+starttls://127.0.0.1:{ports[0]}", MAIL_FROM="no-reply@example.org")
    finally:
        for controller in (accepting, refusing):
            controller.stop()

    assert "accepts the sender no-reply@example.org (no TLS, without sign-in)" in good.text("ok", "smtp")
    assert "MAIL_FROM may not be used" in bad.text("failure", "smtp")
    assert "offers no STARTTLS" in no_tls.text("failure", "smtp")


def test_a_port_of_another_program_is_named(doctor: Callable[..., Report]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = doctor(HTTP_PORT=str(other.getsockname()[1]))

    assert "something else listens" in taken.text("failure", "ports")


def test_production_is_told_what_is_missing_for_its_safety(
    doctor: Callable[..., Report], running: engines.Engines
) -> None:
    report = doctor(
        APP_ENV="production",
        PUBLIC_URL="https://portal.example.org",
        MAIL_FROM="no-reply@portal.example.org",
        SMTP_URL="smtp://127.0.0.1:9",
        CODE_KEY=CODE_KEY.replace("secret", ""),
        OUTBOX_KEY=OUTBOX_KEY,
        SESSION_KEY=SESSION_KEY,
        KEYRING_KEY=KEYRING_KEY,
        SECOND_FACTOR_KEY=SECOND_FACTOR_KEY,
    )

    assert report.failures == {"smtp"}
    assert "TRUSTED_PROXIES is not set" in report.text("warning", "proxies")
    assert "may change the audit log" in report.text("warning", "database")
