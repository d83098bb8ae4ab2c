"""Fixtures of the services: flows of one-time codes."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from auth_service.services.credentials.one_time_codes import Recipient, UnboundAttempts
from auth_service.services.email.addresses import parse
from auth_service.wiring import Services
from tests.support.actors import ApiClient
from tests.support.application import MakeApp
from tests.support.code_flows import Flow

ADA = parse("ada@example.org")
CODE = "750505"


@pytest.fixture
def roomy(make_app: MakeApp) -> Iterator[Flask]:
    """An application whose rate limits are not reached; this is its context, in which services are called."""
    app = make_app(limit_codes_per_network="1000/1d", limit_codes_a_day=100)
    with app.app_context():
        yield app


@pytest.fixture
def flow(roomy: Flask) -> Callable[..., Flow]:
    """Makes flows, each for a user of its own, who may have a session."""
    services: Services = roomy.extensions["auth_service"]
    user_id = ApiClient(roomy).sign_up(ADA.stored)

    def make(unbound: UnboundAttempts = UnboundAttempts.COUNTED_APART, *, session: bool = False, **more: Any) -> Flow:
        options = {"draw": lambda: CODE, **more}
        return Flow(
            codes=replace(services.sign_in.codes, unbound=unbound, **options),
            to=Recipient(
                address=ADA,
                language="en",
                user_id=user_id,
                credential_version=0,
                session_id=uuid.uuid4() if session else None,
            ),
        )

    return make
