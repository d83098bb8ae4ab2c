"""Ports of the API: a port that another program uses, and a restart on the same port."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from auth_service.settings import SECRETS
from tests.support.commands import MANAGE, answers, environment_of, until
from tests.support.stores import Stores


@pytest.fixture
def environment(stores: Stores, tmp_path: Path) -> dict[str, str]:
    """The environment of a command in its own process, with the stores of the tests."""
    return environment_of(stores, tmp_path / "data")


@pytest.fixture
def gunicorn(app: Flask, environment: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts the API alone, as production does."""
    config = MANAGE.parent / "deploy" / "gunicorn.conf.py"
    settings = app.extensions["auth_service"].settings
    # The signing keys in the database are encrypted with the secret of this application.
    source = {name.upper(): settings.secret(name) for name in SECRETS}
    source |= {"PYTHONPATH": str(MANAGE.parent / "src"), "WEB_WORKERS": "1", "DRAIN_SECONDS": "0"}

    def start(**more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--config", str(config)],
            env=environment | source | more,
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.mark.slow
def test_a_second_api_on_a_port_reports_it_instead_of_sharing_the_port(
    gunicorn: Callable[..., subprocess.Popen[str]],
) -> None:
    """Both set SO_REUSEPORT, so the operating system would distribute the requests between both."""
    with socket.socket() as first:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        first.bind(("127.0.0.1", 0))
        first.listen()
        port = first.getsockname()[1]

        second = gunicorn(HTTP_PORT=str(port))
        try:
            _, stderr = second.communicate(timeout=30)
        finally:
            second.terminate()

    assert second.returncode == 1
    assert f"HTTP_PORT: something else listens on 127.0.0.1:{port}." in stderr
    assert "Traceback" not in stderr


@pytest.mark.slow
@pytest.mark.parametrize(("host", "url"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_an_api_can_restart_on_the_same_port_immediately(
    gunicorn: Callable[..., subprocess.Popen[str]], host: str, url: str
) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        port = probe.getsockname()[1]

    for _ in range(2):
        started = gunicorn(HTTP_HOST=host, HTTP_PORT=str(port))
        try:
            until(lambda: answers(f"http://{url}:{port}/health/live"), within=20)
        finally:
            started.terminate()
            started.communicate(timeout=30)
