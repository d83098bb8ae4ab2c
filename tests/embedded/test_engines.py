"""Embedded PostgreSQL and Redis: persistence, passwords, and sharing between processes."""

import fcntl
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import psycopg2
import pytest
import redis

from auth_service.embedded import processes
from auth_service.embedded.engines import EngineError, Engines, running
from tests.support.engines import (
    FORKING_OWNER,
    ONCE,
    OWNER,
    another_process,
    cache,
    families,
    line_of,
    pids,
    present,
    read,
    sql,
    write,
)

pytestmark = pytest.mark.slow


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
            for each in borrowed.servers:
                each.freeze()  # so that they do not stop with their owner, and PostgreSQL ends no process of its own
            left = families(pids(borrowed))
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
