"""Documentation: its links, files, settings, tests, metrics, log lines, error codes and quotes have to exist."""

import re
from pathlib import Path

import pytest

from auth_service.cli.docs import QUOTE, QuoteError, regenerate, source_of
from auth_service.db import db
from auth_service.errors import error_classes
from auth_service.errors.fields import FieldReason
from auth_service.settings import PRODUCTION_NEEDS, SECRETS, Settings
from tests.bench.pages import LOCALES
from tests.support.documents import (
    API,
    ARCHITECTURE,
    CODE,
    ERRORS,
    KEYS,
    LINK,
    MONITORING,
    OPERATIONS,
    PAGES,
    README,
    ROOT,
    RUNBOOK,
    RUSSIAN,
    SCALING,
    SETTINGS,
    THREATS,
    anchors,
    code,
    fences,
    section,
)

SOURCES = "".join(path.read_text("utf-8") for top in ("src", "migrations") for path in (ROOT / top).rglob("*.py"))
TESTS = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py"))
TOP = ("src/", "tests/", "docs/", "deploy/", "migrations/", ".ci/")
FILE = re.compile(r"[\w.*-]+(/[\w.*-]+)*\.(py|md|yml|toml|txt|html|conf|svg|lock|sh|css)")
RUSSIAN_PAGES = sorted((ROOT / "docs").glob("*.ru.md"))

# A decision is not edited later: it names the files and tests of its date.
LIVING_PAGES = [page for page in PAGES if not re.fullmatch(r"\d{4}-.*", page.name)]

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
every_living_page = pytest.mark.parametrize("page", LIVING_PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def first_column(table: str) -> list[str]:
    """The code spans in the first column of a table."""
    return [name for row in re.findall(r"^\|([^|]*)\|", table, re.MULTILINE) for name in CODE.findall(row)]


@every_page
def test_links_have_a_target(page: Path) -> None:
    for link in LINK.findall(page.read_text("utf-8")):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@every_living_page
def test_files_exist(page: Path) -> None:
    bases = (ROOT, ROOT / "src" / "auth_service", page.parent)
    for name in (name for snippet in code(page) for name in snippet.split()):
        if FILE.fullmatch(name) or name.startswith(TOP):
            assert any(list(base.glob(name.rstrip("/"))) for base in bases), name


@every_page
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z_]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

    assert {name for snippet in code(page) for name in re.findall(r"\bmake ([a-z_]+)", snippet)} <= targets


@every_page
def test_settings_exist(page: Path) -> None:
    names = {name for snippet in code(page) for name in re.findall(r"(?<!\.)\b[A-Z]+(?:_[A-Z]+)+\b", snippet)}
    # A name behind a dot is an attribute of a module.

    settings = {name.upper() for name in Settings.model_fields}
    of_make = set(re.findall(r"\$\(([A-Z]+(?:_[A-Z]+)+)\)", (ROOT / "Makefile").read_text("utf-8")))
    of_other_programs = {"JWKS_URL", "ON_ERROR_STOP"}
    assert {name for name in names if not name.startswith("ROLE_")} <= settings | of_make | of_other_programs


def test_operations_documents_every_setting_that_production_requires() -> None:
    named = set(CODE.findall(section(OPERATIONS, "Start")))

    assert {name.upper() for name in PRODUCTION_NEEDS} <= named
    assert {f"{name.upper()}_FILE" for name in SECRETS} <= named
    assert {name.upper() for name in SECRETS} <= set(first_column(section(KEYS, "Rotating secrets")))


@every_living_page
def test_tests_exist(page: Path) -> None:
    for name in code(page):
        if re.fullmatch(r"test_\w+", name):
            assert f"def {name}(" in TESTS, name


def test_every_defence_in_the_threats_has_a_test_with_its_id() -> None:
    ids = re.findall(r"^\| ([A-Z]+\d+) \|", THREATS.read_text("utf-8"), re.MULTILINE)

    assert len(ids) > 60
    assert len(ids) == len(set(ids))
    untested = [each for each in ids if not re.search(rf"def test_(?:\w+_)?{each.lower()}_", TESTS)]
    assert not untested


def test_log_lines_exist_in_the_source() -> None:
    messages = first_column(section(MONITORING, "Logs"))

    assert len(messages) > 10
    for message in messages:
        assert f'"{message}"' in SOURCES, message


def test_the_runbook_quotes_log_lines_of_the_table() -> None:
    lists = re.findall(r"log\s+lines?\s+((?:`[^`]+`(?:, | and )?)+)", RUNBOOK.read_text("utf-8"))
    quoted = {message for each in lists for message in CODE.findall(each)}

    assert len(quoted) > 8
    assert quoted <= set(first_column(section(MONITORING, "Logs")))


def test_metrics_exist() -> None:
    snippets = [*code(MONITORING), *code(OPERATIONS), *code(SCALING), *code(RUNBOOK)]
    named = {name for snippet in snippets for name in re.findall(r"\bauth_[a-z_]+", snippet)}

    assert named >= set(first_column(section(MONITORING, "Metrics")))
    for name in named:
        assert f'"{name.removesuffix("_total")}"' in SOURCES, name


def test_the_diagram_of_the_data_has_every_table_and_column() -> None:
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


def test_the_documented_redis_keys_are_those_of_the_source() -> None:
    named = first_column(section(ARCHITECTURE, "Data").partition("In Redis")[2])
    adapters = "".join(path.read_text("utf-8") for path in (ROOT / "src/auth_service/adapters").rglob("*.py"))

    assert {key.partition(":")[0] for key in named} == set(re.findall(r'f"([a-z]+):\{', adapters))


def test_advice_for_clients_names_existing_error_codes() -> None:
    assert set(first_column(section(ERRORS, "What to do"))) <= {kind.code for kind in error_classes()}


@every_page
def test_generated_parts_are_up_to_date(page: Path) -> None:
    text = page.read_text("utf-8")

    assert regenerate(text) == text


def test_settings_errors_events_and_code_are_generated() -> None:
    for page, table in ((SETTINGS, "settings"), (ERRORS, "errors"), (ERRORS, "field reasons"), (API, "events")):
        assert f"\n<!-- /{table} -->" in page.read_text("utf-8")
    assert len(QUOTE.findall(ARCHITECTURE.read_text("utf-8"))) >= 6


QUOTED = '''
LIMIT: int = 3
FIRST, SECOND = 1, 2


class View:
    """A view."""

    @route("/users")
    @contract(
        status=201,
    )
    def post(self) -> int:
        """Create."""
        return 1
'''


def test_quoted_code_is_the_source_with_decorators(tmp_path: Path) -> None:
    (tmp_path / "view.py").write_text(QUOTED)
    page = "# View\n\n<!-- code: view.py View.post -->\n```python\nold\n```\n\nafter\n"

    assert regenerate(page, root=tmp_path) == (
        "# View\n\n<!-- code: view.py View.post -->\n```python\n"
        '@route("/users")\n@contract(\n    status=201,\n)\ndef post(self) -> int:\n    """Create."""\n    return 1\n'
        "```\n\nafter\n"
    )


def test_quoted_code_can_be_a_class_or_a_constant(tmp_path: Path) -> None:
    (tmp_path / "view.py").write_text(QUOTED)

    assert source_of(tmp_path / "view.py", "View").startswith('class View:\n    """A view."""')
    assert source_of(tmp_path / "view.py", "LIMIT") == "LIMIT: int = 3"


@pytest.mark.parametrize(("path", "name"), [("view.py", "View.get"), ("view.py", "FIRST"), ("gone.py", "View")])
def test_quoted_code_that_does_not_exist_is_an_error(tmp_path: Path, path: str, name: str) -> None:
    (tmp_path / "view.py").write_text(QUOTED)

    with pytest.raises(QuoteError, match=rf"quotes .*{name if path == 'view.py' else path}"):
        source_of(tmp_path / path, name)


def test_the_russian_readme_has_the_same_commands_and_answers() -> None:
    assert fences(RUSSIAN.read_text("utf-8")) == fences(README.read_text("utf-8"))


@pytest.mark.parametrize("page", RUSSIAN_PAGES, ids=lambda page: page.name)
def test_russian_pages_show_the_code_of_the_english_ones(page: Path) -> None:
    english = fences(page.with_name(page.name.replace(".ru.", ".")).read_text("utf-8"))

    assert [block for block in fences(page.read_text("utf-8")) if block not in english] == []


def test_the_russian_page_of_errors_has_every_code_and_reason() -> None:
    page = ERRORS.with_name("errors.ru.md").read_text("utf-8")

    assert set(first_column(page)) == {kind.code for kind in error_classes()} | set(FieldReason) | {"reason"}


def rows(table: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    all_rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", table, re.MULTILINE)
    ]
    return all_rows[2:]


def test_figures_are_localised() -> None:
    english, russian = LOCALES["README.md"], LOCALES["README.ru.md"]

    assert english.figure("1,842 requests/s") == "1,842 requests/s"
    assert russian.figure("1,842 requests/s") == "1\u00a0842\u00a0запр./с"
    assert [russian.figure(figure) for figure in ("0.79", "9.5 ms", "30 ms")] == ["0,79", "9,5\u00a0мс", "30\u00a0мс"]


def test_figures_are_those_of_one_run() -> None:
    measured = rows((ROOT / "docs" / "bench.md").read_text("utf-8"))
    picture = (ROOT / "docs" / "bench.svg").read_text("utf-8")

    for _, figure, share, *_ in measured:
        assert not share or f">{share} · {figure}<" in picture
    for page, title in ((README, "Figures"), (RUSSIAN, "Измерения")):
        locale = LOCALES[page.name]
        assert rows(section(page, title)) == [
            [locale.names[what], *map(locale.figure, (figure, share, p99))]
            for what, figure, share, _, p99, *_ in measured
            if what in locale.names
        ]
