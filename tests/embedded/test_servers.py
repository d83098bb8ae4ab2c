"""Servers of the embedded engines: freeze, kill, restart, stop, and errors at the start."""

import select
import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redis

from auth_service.embedded import processes
from auth_service.embedded.engines import EngineError, Engines, Redis, Server, running
from tests.support.engines import cache, families, pids, present, read, write

pytestmark = pytest.mark.slow


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
