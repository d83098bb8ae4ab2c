"""A service of its own for each module of fault tests, and the figures that they find."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.service import Service, make_template

_figures: list[str] = []


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Takes a line of figures for the end of the run."""
    return lambda line: _figures.append(f"{request.node.name}: {line}")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of engines whose database is migrated."""
    folder = tmp_path_factory.mktemp("template") / "engines"
    make_template(folder)
    return folder


@pytest.fixture(scope="module")
def service(
    request: pytest.FixtureRequest, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The service; a module may say `DURABLE = True` and name `SETTINGS`."""
    durable = getattr(request.module, "DURABLE", False)
    settings = getattr(request.module, "SETTINGS", {})
    folder = tmp_path_factory.mktemp("service")
    with Service.running(folder, template=template, durable=durable, **settings) as running:
        yield running
    assert running.crashes() == []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _figures:
        terminalreporter.section("figures of the fault tests")
        for line in _figures:
            terminalreporter.line(line)
