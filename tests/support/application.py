"""Applications for tests: settings over the stores of a run, and one over engines of its own for measurements."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from flask_migrate import upgrade

from auth_service.app import create_app
from auth_service.db import db
from auth_service.embedded import engines
from auth_service.settings import Settings
from tests.support.conformance import ConformingClient
from tests.support.stores import CODE_KEY, KEYRING_KEY, OUTBOX_KEY, SECOND_FACTOR_KEY, SESSION_KEY, Stores

MakeApp = Callable[..., Flask]


def clear_environment() -> None:
    """Remove the settings that a developer exported for the service, so that they cannot change its tests."""
    for name in Settings.model_fields:
        if name != "app_env":
            os.environ.pop(name.upper(), None)
    os.environ["APP_ENV"] = "test"


def settings_of(stores: Stores, data_dir: Path, **values: Any) -> Settings:
    """Settings over some stores; `values` take precedence."""
    base: dict[str, Any] = {
        "app_env": "test",
        "database_url": stores.database_url,
        "redis_url": stores.redis_url,
        "data_dir": data_dir,
        "code_key": CODE_KEY,
        "outbox_key": OUTBOX_KEY,
        "session_key": SESSION_KEY,
        "keyring_key": KEYRING_KEY,
        "second_factor_key": SECOND_FACTOR_KEY,
    }
    if values.get("app_env") == "production":
        base |= {
            "smtp_url": "smtp://127.0.0.1:2525",
            "mail_from": "no-reply@portal.example.org",
            "public_url": "https://portal.example.org",
        }
    return Settings.read(env_file=None, **(base | values))


class Applications:
    """Applications, each created once for its settings."""

    def __init__(self, make_settings: Callable[..., Settings]) -> None:
        """`make_settings` completes the settings of an application."""
        self._make_settings = make_settings
        self._applications: dict[tuple[tuple[str, Any], ...], Flask] = {}

    def __call__(self, **values: Any) -> Flask:
        """The application whose settings are these."""
        key = tuple(sorted(values.items()))
        if key not in self._applications:
            self._applications[key] = app = create_app(self._make_settings(**values))
            app.test_client_class = ConformingClient
        return self._applications[key]

    def let_go(self, *, beyond: int) -> None:
        """Close idle database connections if all applications together have more than `beyond`.

        PostgreSQL allows one hundred in all, and a test run creates many applications, some with a large pool.
        """
        if sum(_idle_connections(app) for app in self._applications.values()) > beyond:
            for app in self._applications.values():
                forget(app)


def _idle_connections(app: Flask) -> int:
    with app.app_context():
        pool: Any = db.engine.pool
        idle: int = pool.checkedin()
        return idle


def forget(app: Flask) -> None:
    """Close the connections and threads of an application."""
    with app.app_context():
        db.engine.dispose()
    app.extensions["auth_service"].redis.close()


@contextmanager
def new_application(settings: Settings) -> Iterator[Flask]:
    """An application over stores that are migrated already, in which nothing has run yet."""
    app = create_app(settings)
    app.test_client_class = ConformingClient
    yield app
    forget(app)


@contextmanager
def application(**values: Any) -> Iterator[Flask]:
    """A migrated application with these settings; environment variables do not affect it."""
    clear_environment()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with engines.running(data_dir=folder / "engines", durable=False) as started:
            stores = Stores(database_url=started.database_url, redis_url=started.redis_url)
            app = create_app(settings_of(stores, folder / "data", log_level="WARNING", **values))
            with app.app_context():
                upgrade()
            yield app
            forget(app)
