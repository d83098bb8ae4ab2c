"""Fixtures of the tests of clients: verifiers, a scripted server, the service as developers of front ends run it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from auth_service.adapters.crypto.access_tokens import KeySet
from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service_verifier import Verifier
from tests.support.actors import Mailbox
from tests.support.application import MakeApp
from tests.support.forgery import Forger, decoded
from tests.support.live import PATIENCE, Live, live_server
from tests.support.scripted_server import ScriptedServer, scripted_server
from tests.support.service_client import made_key
from tests.support.stores import Stores
from tests.support.verifiers import ISSUER

AUDIENCE = "portal"


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


@pytest.fixture
def address(live: Live) -> str:
    """The address of the running service."""
    return f"http://127.0.0.1:{live.port}"


@pytest.fixture
def verifier(address: str) -> Verifier:
    return Verifier(f"{address}/.well-known/jwks.json", ISSUER, AUDIENCE, time_limit=PATIENCE)


@pytest.fixture
def introspecting(app: Flask, address: str) -> Callable[..., Verifier]:
    """Makes verifiers with a service key of these scopes."""

    def make(*scopes: str, key: str | None = None, url: str | None = None) -> Verifier:
        return Verifier(
            f"{address}/.well-known/jwks.json",
            ISSUER,
            AUDIENCE,
            introspection_url=url or f"{address}/api/v1/tokens/introspect",
            service_key=key or made_key(app, *(scopes or ("tokens:introspect",))).value,
            time_limit=PATIENCE,
        )

    return make


@pytest.fixture
def forger(token: str, key_set: KeySet) -> Forger:
    """A forger with the real signing key, so that each rejection is due to the contents of the token."""
    header, claims, _ = token.split(".")
    return Forger(header=decoded(header), claims=decoded(claims), key=key_set.signing_key)
