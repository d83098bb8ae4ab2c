"""The documents name only what exists: files, sections, commands, settings, tests, metrics, log lines."""

import re
from pathlib import Path

import pytest

from auth_service.cli.docs import error_classes
from auth_service.db import db
from auth_service.settings import PRODUCTION_NEEDS, SECRETS, Settings
from tests.bench.pages import SHOWN
from tests.documents import (
    ARCHITECTURE,
    CLIENTS,
    CODE,
    LINK,
    OPERATIONS,
    PAGES,
    README,
    ROOT,
    RUSSIAN,
    anchors,
    code,
    fences,
    section,
)

SOURCES = "".join(path.read_text("utf-8") for top in ("src", "migrations") for path in (ROOT / top).rglob("*.py"))
TESTS = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py"))
TOP = ("src/", "tests/", "docs/", "deploy/", "migrations/", ".ci/")
FILE = re.compile(r"[\w.*-]+(/[\w.*-]+)*\.(py|md|yml|toml|txt|html|conf|svg|lock|sh|css)")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def first_column(table: str) -> list[str]:
    """What is in code font in the first column of a table."""
    return [word for row in re.findall(r"^\|([^|]*)\|", table, re.MULTILINE) for word in CODE.findall(row)]


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text("utf-8")):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@every_page
def test_files_exist(page: Path) -> None:
    bases = (ROOT, ROOT / "src" / "auth_service", page.parent)
    for word in (word for snippet in code(page) for word in snippet.split()):
        if FILE.fullmatch(word) or word.startswith(TOP):
            assert any(list(base.glob(word.rstrip("/"))) for base in bases), word


@every_page
def test_make_knows_the_targets(page: Path) -> None:
    targets = set(re.findall(r"^([a-z_]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

    assert {name for snippet in code(page) for name in re.findall(r"\bmake ([a-z_]+)", snippet)} <= targets


@every_page
def test_settings_have_these_names(page: Path) -> None:
    words = {word for snippet in code(page) for word in re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", snippet)}

    assert {word for word in words if not word.startswith("ROLE_")} <= {name.upper() for name in Settings.model_fields}


def test_operators_are_told_what_production_needs() -> None:
    told = set(CODE.findall(section(OPERATIONS, "Starting")))

    assert {name.upper() for name in PRODUCTION_NEEDS} <= told
    assert {f"{name.upper()}_FILE" for name in SECRETS} <= told
    assert {name.upper() for name in SECRETS} <= set(first_column(section(OPERATIONS, "Rotating secrets")))


@every_page
def test_tests_have_these_names(page: Path) -> None:
    for word in code(page):
        if re.fullmatch(r"test_\w+", word):
            assert f"def {word}(" in TESTS, word


def test_log_lines_are_logged() -> None:
    messages = first_column(section(OPERATIONS, "Logs"))

    assert len(messages) > 10
    for message in messages:
        assert f'"{message}"' in SOURCES, message


def test_metrics_are_measured() -> None:
    named = {word for snippet in code(OPERATIONS) for word in re.findall(r"\bauth_[a-z_]+", snippet)}

    assert named >= set(first_column(section(OPERATIONS, "Metrics")))
    for name in named:
        assert f'"{name.removesuffix("_total")}"' in SOURCES, name


def test_the_picture_of_the_data_has_every_table_and_column() -> None:
    picture = dict(fences(section(ARCHITECTURE, "Data")))["mermaid"]
    drawn = {
        (table, column, key.strip())
        for table, columns in re.findall(r"^    (\w+) \{\n(.*?)^    \}", picture, re.MULTILINE | re.DOTALL)
        for column, key in re.findall(r"^ +\w+ (\w+)((?: PK)?,?(?: FK)?)", columns, re.MULTILINE)
    }
    tables = db.metadata.tables.values()

    assert drawn == {
        (table.name, column.name, ", ".join(["PK"] * column.primary_key + ["FK"] * bool(column.foreign_keys)))
        for table in tables
        for column in table.columns
    }
    lines = set(re.findall(r"^    (\w+) \|.--o. (\w+) :", picture, re.MULTILINE))
    assert lines == {(key.column.table.name, table.name) for table in tables for key in table.foreign_keys}


def test_the_keys_in_redis_are_those_that_are_written() -> None:
    told = first_column(section(ARCHITECTURE, "Data").partition("In Redis")[2])
    adapters = "".join(path.read_text("utf-8") for path in (ROOT / "src/auth_service/adapters").glob("*.py"))

    assert {key.partition(":")[0] for key in told} == set(re.findall(r'f"([a-z]+):\{', adapters))


def test_clients_are_told_what_to_do_with_refusals_that_exist() -> None:
    told = set(first_column(section(CLIENTS, "What to do with a refusal").partition("<!-- refusals -->")[0]))

    assert told <= {refusal.code for refusal in error_classes()}


def test_the_russian_readme_has_the_same_commands_and_answers() -> None:
    assert fences(RUSSIAN.read_text("utf-8")) == fences(README.read_text("utf-8"))


def rows(table: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    found = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", table, re.MULTILINE)
    ]
    return found[2:]


def test_figures_are_those_of_one_run() -> None:
    measured = rows((ROOT / "docs" / "bench.md").read_text("utf-8"))
    picture = (ROOT / "docs" / "bench.svg").read_text("utf-8")

    for _, figure, share, *_ in measured:
        assert not share or f">{share} · {figure}<" in picture
    for page, title in ((README, "Figures"), (RUSSIAN, "Цифры")):
        shown = [cells[1:] for cells in rows(section(page, title))]
        assert shown == [[figure, share, p99] for what, figure, share, _, p99, *_ in measured if what in SHOWN]
