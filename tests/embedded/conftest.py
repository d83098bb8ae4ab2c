"""Embedded engines of the tests in this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from auth_service.embedded.engines import Engines, running


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home") / "data"


@pytest.fixture
def engines(data_dir: Path) -> Iterator[Engines]:
    with running(data_dir=data_dir) as started:
        yield started
