"""Commands as subprocesses: the program, and waiting for what it does."""

import os
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.support.stores import Stores

MANAGE = Path(__file__).parents[2] / "manage.py"


def until(condition: Callable[[], bool], *, within: float = 15) -> None:
    """Wait until a condition is true."""
    give_up_at = time.monotonic() + within
    while not condition():
        assert time.monotonic() < give_up_at, "the condition did not become true in time"
        time.sleep(0.05)


def answers(url: str) -> bool:
    """Whether a server accepts connections there."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def bare_environment(**settings: str) -> dict[str, str]:
    """The environment of a command that must not inherit settings: `PATH`, these, and what coverage measures it by."""
    inherited = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COVERAGE_")}
    return {**inherited, **settings}


def environment_of(stores: Stores, data_dir: Path) -> dict[str, str]:
    """The environment of a command in its own process, with the stores of the tests."""
    return {
        **os.environ,
        "APP_ENV": "test",
        "DATABASE_URL": stores.database_url,
        "REDIS_URL": stores.redis_url,
        "DATA_DIR": str(data_dir),
    }
