"""Fixtures of the signing keys: two processes over a database of their own."""

from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy.engine import make_url

from auth_service.app import create_app
from auth_service.settings import Settings
from tests.support.application import forget
from tests.support.stores import Query, Stores, asking, temporary_database


@pytest.fixture(scope="module")
def url(stores: Stores, make_settings: Callable[..., Settings]) -> Iterator[str]:
    """A migrated database of these tests alone, so that the signing keys of other tests stay."""
    name = f"{make_url(stores.database_url).database}_keys"
    with temporary_database(stores.database_url, name):
        url = make_url(stores.database_url).set(database=name).render_as_string(hide_password=False)
        app = create_app(make_settings(database_url=url))
        with app.app_context():
            upgrade()
        forget(app)
        yield url


@pytest.fixture
def query(url: str) -> Query:
    """Runs a statement outside of the applications."""
    return asking(url)


@pytest.fixture
def two(url: str, query: Query, make_settings: Callable[..., Settings]) -> Iterator[list[Flask]]:
    """Two processes of the service over this database, which has no users and no keys."""
    query("DELETE FROM letters; DELETE FROM users; DELETE FROM events; DELETE FROM signing_keys")
    apps = [create_app(make_settings(database_url=url, rate_limits="off")) for _ in range(2)]
    yield apps
    for app in apps:
        forget(app)
