"""An application over engines of its own, for measurements that run outside pytest."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from flask_migrate import upgrade

from auth_service.app import create_app
from auth_service.embedded import engines
from tests.conftest import Stores, forget, pytest_configure, settings_of


@contextmanager
def application(**given: Any) -> Iterator[Flask]:
    """A migrated application with these settings; nothing of the caller's environment steers it."""
    pytest_configure()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with engines.running(data_dir=folder / "engines", durable=False) as started:
            stores = Stores(database_url=started.database_url, redis_url=started.redis_url)
            app = create_app(settings_of(stores, folder / "data", log_level="WARNING", **given))
            with app.app_context():
                upgrade()
            yield app
            forget(app)
