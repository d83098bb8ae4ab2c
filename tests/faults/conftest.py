"""Fixtures of the fault tests: one service for each module, and the figures that the run prints at its end."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.service import Service, make_template


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Adds a line of figures to the summary at the end of the run."""
    return lambda line: record_property("figures", line)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of engines with a migrated database."""
    folder = tmp_path_factory.mktemp("template") / "engines"
    make_template(folder)
    return folder


@pytest.fixture(scope="module")
def service(
    request: pytest.FixtureRequest, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The service; a module can define `DURABLE = True` and `SETTINGS`."""
    durable = getattr(request.module, "DURABLE", False)
    settings = getattr(request.module, "SETTINGS", {})
    folder = tmp_path_factory.mktemp("service")
    with Service.running(folder, template=template, durable=durable, **settings) as running:
        yield running
    assert running.unexpected_errors() == []
