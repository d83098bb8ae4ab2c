"""Fixtures of the tests of clients: a scripted server, and the service as developers of front ends run it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from auth_service.adapters.email.dev_inbox import DevInbox
from tests.support.actors import Mailbox
from tests.support.application import MakeApp
from tests.support.live import Live, live_server
from tests.support.scripted_server import ScriptedServer, scripted_server
from tests.support.stores import Stores


@pytest.fixture
def endpoint() -> Iterator[ScriptedServer]:
    """An endpoint whose answers the test chooses."""
    with scripted_server() as server:
        yield server


@pytest.fixture(scope="session")
def local_service_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of `local_service`."""
    return tmp_path_factory.mktemp("local")


@pytest.fixture(scope="session")
def local_service(make_app: MakeApp, stores: Stores, local_service_folder: Path) -> Iterator[Live]:
    """The service in the profile `local`, as `make run` starts it: pages of this machine may call it."""
    with live_server(stores, local_service_folder, APP_ENV="local", RATE_LIMITS="on") as started:
        yield started


@pytest.fixture
def inbox_of_local(app: Flask, local_service_folder: Path) -> Mailbox:
    """What the dev inbox of `local_service` shows when the outbox is delivered; empty at first."""
    folder = local_service_folder / "data" / "inbox"
    shutil.rmtree(folder, ignore_errors=True)
    return Mailbox(app, DevInbox(folder))
