"""Signing keys of an application: rotation, publication, reads, and a clock ahead of the time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from flask import Flask
from sqlalchemy import event

from auth_service.db import db, unit_of_work
from auth_service.services.tokens.signing_keys import SigningKeys
from auth_service.wiring import Services
from tests.support.rewiring import rewired

JWKS = "/.well-known/jwks.json"


def signing_keys(app: Flask) -> SigningKeys:
    services: Services = app.extensions["auth_service"]
    return services.signing_keys


def rotate(app: Flask, **how: Any) -> str:
    with app.app_context(), unit_of_work():
        return signing_keys(app).rotate(**how)


def published(app: Flask) -> list[str]:
    answer = app.test_client().get(JWKS)
    assert answer.status_code == 200
    return [key["kid"] for key in answer.get_json()["keys"]]


@contextmanager
def reads(app: Flask) -> Iterator[list[str]]:
    """The statements that read the keys meanwhile."""
    executed: list[str] = []

    def record_read(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "signing_keys" in statement:
            executed.append(statement)

    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", record_read)
        yield executed
        event.remove(db.engine, "before_cursor_execute", record_read)


def later(app: Flask, by: timedelta) -> SigningKeys:
    """The signing keys of an application with its cache, and with a clock that stands still, this much ahead."""
    then = time.monotonic() + by.total_seconds()
    return replace(signing_keys(app), monotonic=lambda: then)


def let_pass(app: Flask, by: timedelta) -> None:
    """Stop the clock of the signing keys of an application this much ahead."""
    services: Services = app.extensions["auth_service"]
    app.extensions["auth_service"] = rewired(services, services.signing_keys, by=later(app, by))
