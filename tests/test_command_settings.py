"""Settings of commands: the .env of a developer and of production, and embedded engines where no store is named."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from auth_service import cli
from auth_service.cli.engines import with_engines
from auth_service.cli.settings import read_settings
from auth_service.settings import Settings, SettingsRefused
from auth_service.wiring import mail_transport
from tests.support.application import MakeApp
from tests.support.commands import MANAGE, environment_of
from tests.support.stores import Stores


@pytest.fixture
def environment(stores: Stores, tmp_path: Path) -> dict[str, str]:
    """The environment of a command in its own process, with the stores of the tests."""
    return environment_of(stores, tmp_path / "data")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_command_of_a_developer_ignores_the_env_file_of_production(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / ".env").write_text("APP_ENV=production\nDATABASE_URL=postgresql://production/auth\n")

    settings = read_settings()

    assert settings.database_url is None
    assert "not used" in capsys.readouterr().err
    monkeypatch.delenv("APP_ENV")
    with pytest.raises(SettingsRefused):
        read_settings()


def test_gunicorn_of_a_developer_ignores_the_env_file_of_production(
    here: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make run` beside the `.env` of `make up` must not send emails through the SMTP server of production."""
    (here / ".env").write_text(
        "APP_ENV=production\nSMTP_URL=smtp://mail.production.example\nPUBLIC_URL=https://production.example\n"
    )
    config = MANAGE.parent / "deploy" / "gunicorn.conf.py"
    script = f"import runpy; s = runpy.run_path({str(config)!r})['settings']; print(s.smtp_url, s.public_url)"

    result = subprocess.run(
        [sys.executable, "-c", script],
        env=environment | {"PYTHONPATH": str(MANAGE.parent / "src")},
        cwd=here,
        capture_output=True,
        text=True,
        check=True,
    )

    assert result.stdout == "None http://127.0.0.1:5000\n"


def test_the_env_file_of_a_developer_is_used(here: Path) -> None:
    (here / ".env").write_text("APP_ENV=test\nHTTP_PORT=5002\n")

    assert read_settings().http_port == 5002


def test_stores_of_the_settings_are_used_instead_of_embedded_engines(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()

    with with_engines(settings) as complete:
        assert complete.database_url == settings.database_url
        assert complete.code_key is not None


@pytest.fixture
def app_with_engines(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """An application for a command without the URL of a store in the settings."""
    monkeypatch.setenv("DATA_DIR", str(here / "data"))
    registered: list[Callable[[], None]] = []
    monkeypatch.setattr("atexit.register", registered.append)
    yield cli.app_for_commands()
    for close in registered:
        close()


@pytest.mark.slow
def test_a_command_starts_embedded_engines_if_the_settings_have_no_stores(app_with_engines: Flask) -> None:
    result = app_with_engines.test_cli_runner().invoke(args=["db", "current"])

    assert result.exit_code == 0


def test_emails_are_sent_by_smtp_if_the_settings_have_an_smtp_url(
    make_app: MakeApp, make_settings: Callable[..., Settings]
) -> None:
    assert type(mail_transport(make_settings(smtp_url="smtp://127.0.0.1:2525"))).__name__ == "SmtpTransport"
    assert type(mail_transport(make_settings())).__name__ == "DevInbox"
