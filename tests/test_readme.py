"""README and docs as tests: their commands and requests run, and the output is compared with the documents."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from tests.support.application import MakeApp
from tests.support.documents import (
    API,
    IMPORT_USERS,
    PAGES,
    README,
    ROOT,
    commands,
    fences,
    section,
    transcript,
)
from tests.support.stores import KEYRING_KEY, Stores, temporary_database

pytestmark = pytest.mark.slow

ADDRESS = "http://127.0.0.1:5000"
PATIENCE = 60.0
LONG_RUNNING = {"python manage.py api", "python manage.py mail deliver"}
"""The commands that the fixture `service` runs: the first itself, the second as the mailer that the first starts."""

Run = Callable[[str], str]


def checkout(folder: Path) -> Path:
    """A copy of the files that commands need and may change."""
    for name in ("manage.py", ".flaskenv", ".env.test"):
        shutil.copy(ROOT / name, folder)
    for name in ("src", "migrations", "deploy", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def environment(**settings: str) -> dict[str, str]:
    """The variables of an activated virtual environment, and these settings."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **settings}


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, "the process ended"
        assert time.monotonic() < give_up_at, "the condition did not become true in time"
        time.sleep(0.05)


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """The service, started by its documented command."""

    url: str
    printed: str


@pytest.fixture(scope="module")
def service(stores: Stores, make_app: MakeApp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`python manage.py api`, as `make run` starts it, over the stores of this run."""
    folder = checkout(tmp_path_factory.mktemp("service"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # That database has the encrypted signing keys of earlier tests.
    stores_of_this_run = {
        "DATABASE_URL": stores.database_url,
        "REDIS_URL": stores.redis_url,
        "KEYRING_KEY": KEYRING_KEY,
    }
    with (folder / "printed").open("wb") as printed:
        process = subprocess.Popen(
            shlex.split("python manage.py api"),
            cwd=folder,
            env=environment(APP_ENV="local", HTTP_PORT=str(port), **stores_of_this_run),
            stdout=printed,
        )
    try:
        wait_until(lambda: "Data" in (folder / "printed").read_text("utf-8"), process)
        yield Running(url=f"http://127.0.0.1:{port}", printed=(folder / "printed").read_text("utf-8"))
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert (folder / "printed").read_text("utf-8").endswith("Stopped.\n")


@pytest.fixture
def database(stores: Stores) -> Iterator[str]:
    """The URL of a database that commands may change."""
    url = make_url(stores.database_url)
    name = f"{url.database}_readme"
    with temporary_database(stores.database_url, name):
        yield url.set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The working directory of the commands."""
    (tmp_path / "people.jsonl").write_text(dict(fences(IMPORT_USERS.read_text("utf-8")))["json"], "utf-8")
    return checkout(tmp_path)


@pytest.fixture
def run(here: Path, database: str, stores: Stores) -> Run:
    """Runs a command that has to succeed; returns its output."""
    env = environment(APP_ENV="test", DATABASE_URL=database, REDIS_URL=stores.redis_url)

    def run_command(command: str) -> str:
        process = subprocess.run(
            ["/bin/sh", "-c", command],
            check=False,
            cwd=here,
            env=env,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert process.returncode == 0, f"{command}\n{process.stdout}{process.stderr}"
        return process.stdout

    return run_command


RANDOM = ("id", "access_token", "refresh_token", "auth_time")


def without_random(text: str) -> Any:
    """An answer as an object, with random values replaced by their types."""
    body = json.loads(text) if text.strip() else None
    data = body.get("data") if isinstance(body, dict) else None
    if isinstance(data, dict):
        data |= {name: type(data[name]).__name__ for name in RANDOM if name in data}
    return body


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(
    ("page", "titles"),
    [
        (README, ["The six requests", "Sign-in"]),
        (API, ["Registration with curl"]),
        (API, ["Account with curl"]),
    ],
    ids=["README", "registration", "account"],
)
def test_requests_have_the_documented_answers(service: Running, tmp_path: Path, page: Path, titles: list[str]) -> None:
    steps = [step for title in titles for step in transcript(section(page, title))]
    script = "".join(f"{{\n{command}}} >{number}\n" for number, (command, _) in enumerate(steps))

    subprocess.run(
        ["/bin/sh", "-eu", "-c", script.replace(ADDRESS, service.url)], cwd=tmp_path, check=True, timeout=PATIENCE
    )

    answers = [(tmp_path / str(number)).read_text("utf-8") for number in range(len(steps))]
    assert len(steps) >= 4
    assert [without_random(answer) for answer in answers] == [without_random(printed) for _, printed in steps]


def test_the_start_prints_the_output_of_the_readme(service: Running) -> None:
    shown = dict(fences(section(README, "Quick start")))["text"]

    assert settled(service.printed.replace(service.url, ADDRESS)) == settled(shown)


def settled(printed: str) -> list[str]:
    """The lines of the output without the path of the data folder."""
    steps = re.sub(r"^(PostgreSQL|Redis|Migrations|API) .*\)$", r"\1 …", printed, flags=re.MULTILINE)
    return re.sub(r"(Data +)\S+", r"\1here", steps).strip().splitlines()


def test_the_urls_of_the_readme_answer(service: Running) -> None:
    pages = re.findall(rf"<{ADDRESS}(/[^>]*)>", README.read_text("utf-8"))

    assert pages
    for path in pages:
        with urllib.request.urlopen(service.url + path, timeout=10) as answer:
            assert answer.status == 200


def test_the_migration_commands_of_the_readme_work(here: Path, run: Run, database: str) -> None:
    make, apply, go_back, make_empty = of_migrations()
    versions = here / "migrations" / "versions"
    newest = max(int(path.name[:4]) for path in versions.glob("*.py"))
    run("cp .env.test .env")
    run(apply)

    user = here / "src" / "auth_service" / "models" / "user.py"
    known = "    language: Mapped[str] = mapped_column(Text)\n"
    user.write_text(user.read_text("utf-8").replace(known, f"{known}    nickname: Mapped[str | None]\n"), "utf-8")
    run(make)
    assert "nickname" in (versions / f"{newest + 1:04}_message.py").read_text("utf-8")
    run(apply)
    assert "nickname" in columns_of_users(database)
    run(go_back)
    assert "nickname" not in columns_of_users(database)
    run(make_empty)
    assert (versions / f"{newest + 2:04}_message.py").exists(), "a new migration has the next number"


def of_migrations() -> list[str]:
    """The four commands of the README, one a line."""
    return next(
        block.splitlines() for _, block in fences(README.read_text("utf-8")) if block.startswith("flask db migrate")
    )


def columns_of_users(url: str) -> set[str]:
    connection = psycopg2.connect(url.replace("+psycopg2", ""))
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT column_name FROM information_schema.columns WHERE table_name = 'users'")
        columns = {name for (name,) in cursor.fetchall()}
    connection.close()
    return columns


def test_the_documented_import_of_users_has_the_documented_output(run: Run) -> None:
    blocks = dict(fences(IMPORT_USERS.read_text("utf-8")))

    run("python manage.py db upgrade")

    assert run(blocks["bash"]) == blocks["text"]


@pytest.mark.timeout(900)
def test_every_other_command_of_the_documents_runs(run: Run) -> None:
    named = set[str]().union(*map(commands, PAGES))
    assert named >= LONG_RUNNING

    run("python manage.py db upgrade")
    others = named - LONG_RUNNING - set(of_migrations()) - {"python manage.py db upgrade"}
    # New signing keys are too young for a rotation.
    for command in sorted(others, key=lambda command: ("downgrade" in command, "replace" in command, command)):
        run(command)
