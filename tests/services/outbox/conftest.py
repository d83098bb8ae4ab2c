"""Fixtures of the outbox: a user, and an email with a code."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from flask import Flask

from auth_service.db import unit_of_work
from auth_service.models.outbox_message import EmailKind
from auth_service.services.email.addresses import parse
from auth_service.wiring import Services
from tests.support.actors import ApiClient

ADA = parse("ada@example.org")


@pytest.fixture
def context(app: Flask) -> Iterator[None]:
    """The application's context, in which services can be called directly."""
    with app.app_context():
        yield


@pytest.fixture
def ada(app: Flask) -> int:
    """A temporary user."""
    return ApiClient(app).sign_up(ADA.stored)


@pytest.fixture
def write(services: Services, context: None, ada: int) -> Callable[..., bool]:
    """Puts an email with a code for Ada into the outbox."""

    def put_email(*, ttl: timedelta = timedelta(minutes=10)) -> bool:
        with unit_of_work():
            return services.outbox.put_code(
                kind=EmailKind.REGISTRATION_CODE,
                to=ADA,
                user_id=ada,
                language="en",
                values={"code": "7505", "minutes": 10},
                ttl=ttl,
            )

    return put_email
