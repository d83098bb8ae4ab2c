"""Token verifiers of `docs/verifiers`: each example runs unchanged against a running service."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from auth_service.adapters.crypto.access_tokens import KeySet
from auth_service.db import unit_of_work
from auth_service.services.tokens.signing_keys import CACHE_TTL, KeyTooYoung
from auth_service.wiring import Services
from tests.support.live import ROOT, Live
from tests.support.node import install
from tests.support.verifiers import ISSUER, VERIFIERS, ask, forgeries, free_port, running, signed

pytestmark = pytest.mark.slow
NODE = VERIFIERS / "node"
Ask = Callable[..., Any]


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Node example with its one package, as `npm ci` installs it."""
    return install(NODE, tmp_path_factory.mktemp("node"), "verify.mjs")


def command(kind: str, port: int, request: pytest.FixtureRequest) -> tuple[list[str], Path]:
    if kind == "node":
        return ["node", "verify.mjs"], request.getfixturevalue("node_modules")
    if kind == "flask":
        return [sys.executable, "-m", "flask", "--app", "flask_app", "run", "--port", f"{port}"], VERIFIERS
    return [sys.executable, "-m", "uvicorn", "fastapi_app:app", "--port", f"{port}"], VERIFIERS


@contextmanager
def verifier(kind: str, request: pytest.FixtureRequest, *, jwks_port: int) -> Iterator[int]:
    """One of the examples, with the JWKS at `jwks_port`; yields the port of the example."""
    port = free_port()
    run, folder = command(kind, port, request)
    keys = f"http://127.0.0.1:{jwks_port}/.well-known/jwks.json"
    environment = {
        "ISSUER": ISSUER,
        "AUDIENCE": "portal",
        "JWKS_URL": keys,
        "PORT": f"{port}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(ROOT / "src"),  # in place of the installed package auth_service_verifier
    }
    with running(run, port, folder=folder, **environment):
        yield port


CHALLENGES = dict.fromkeys(("flask", "fastapi"), 'Bearer error="invalid_token"') | {"node": "Bearer"}

every_kind = pytest.mark.parametrize("kind", ["flask", "fastapi", "node"])


@every_kind
def test_tk1_tk2_tk3_tk4_verifiers_accept_valid_tokens_only(
    kind: str, live: Live, key_set: KeySet, app: Flask, request: pytest.FixtureRequest, subtests: pytest.Subtests
) -> None:
    me = {"user": "4711", "roles": ["ROLE_PORTAL_USER"]}
    with verifier(kind, request, jwks_port=live.port) as port:
        assert ask(port, Authorization=f"Bearer {signed(key_set)}")[::2] == (200, me)
        now = int(time.time())
        assert ask(port, Authorization=f"Bearer {signed(key_set, exp=now - 20)}")[0] == 200, (
            "verifiers tolerate clock skew"
        )
        for name, token in forgeries(key_set).items():
            with subtests.test(name):
                status, headers, _ = ask(port, Authorization=f"Bearer {token}")
                assert (status, headers.get("www-authenticate")) == (401, CHALLENGES[kind]), name
        for other in (
            {},
            {"Authorization": ""},
            {"Authorization": f"Basic {signed(key_set)}"},
            {"X-Token": signed(key_set)},
        ):
            assert ask(port, **other)[0] == 401
        assert ask(port, path=f"/whoami?access_token={signed(key_set)}")[0] == 401

        # Key rotation needs no change in verifiers: a signing key is published before it signs.
        services: Services = app.extensions["auth_service"]
        with app.app_context():
            kid = rotated_in(services)
            time.sleep(CACHE_TTL.total_seconds())
            rotated = services.signing_keys.for_verification()
        assert rotated.signing_kid == kid != key_set.signing_kid
        for keys in (key_set, rotated):
            assert ask(port, Authorization=f"Bearer {signed(keys)}")[::2] == (200, me)


def rotated_in(services: Services) -> str:
    """Rotate the signing keys as soon as the next key is old enough; return the id of the new signing key."""
    while True:
        try:
            with unit_of_work():
                return services.signing_keys.rotate(published_for=CACHE_TTL)
        except KeyTooYoung as young:
            time.sleep(young.wait.total_seconds())


@every_kind
def test_verifiers_without_signing_keys_answer_503_instead_of_401(
    kind: str, key_set: KeySet, request: pytest.FixtureRequest
) -> None:
    with verifier(kind, request, jwks_port=free_port()) as port:
        assert ask(port, Authorization=f"Bearer {signed(key_set)}")[0] == 503
        assert ask(port)[0] == 401
