"""`.env`: Python, the shell script of `make up` and python-dotenv read the same; misspelt names are named."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import given, settings
from hypothesis import strategies as st

from auth_service.settings import Settings, SettingsRefused
from auth_service.settings.env_file import load, profile_of
from tests.support.commands import bare_environment

ROOT = Path(__file__).parents[1]
MANAGE = ROOT / "manage.py"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files of `make up`."""
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "deploy" / "make-env.sh", tmp_path / "deploy")
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    return tmp_path


def make_env(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make-env.sh over the `.env` of a folder."""
    return subprocess.run(
        ["/bin/sh", "deploy/make-env.sh", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )


READ_ALIKE = [
    (b"APP_ENV=test", "test"),
    (BYTE_ORDER_MARK + b"APP_ENV=test\n", "test"),
    (BYTE_ORDER_MARK + b"APP_ENV=test\r\nLOG_LEVEL=INFO\r\n", "test"),
    (b"APP_ENV=test\r\n", "test"),
    (b"export APP_ENV=test\n", "test"),
    (b"  export\tAPP_ENV = test \n", "test"),
    (b"APP_ENV='test'\n", "test"),
    (b'APP_ENV="test" # of a developer\n', "test"),
    (b"APP_ENV=test # it's of a developer\n", "test"),
    (b"APP_ENV=production\nAPP_ENV=test\n", "test"),
    (b"#APP_ENV=production\n\n \t\nAPP_ENV=test\n", "test"),
    (b"APP_ENV=\n", ""),
    (b"APP_ENV=te#st\n", "te#st"),
    (b"APP_ENV='$te`st\"#'\n", '$te`st"#'),
    ("APP_ENV=тест\n".encode(), "тест"),
]


@pytest.mark.parametrize(("content", "value"), READ_ALIKE, ids=str)
def test_both_readers_read_the_same(content: bytes, value: str, folder: Path) -> None:
    (folder / ".env").write_bytes(content)

    assert load(folder / ".env")["APP_ENV"] == value
    assert make_env(folder, "value", "APP_ENV").stdout == f"{value}\n"


READ_DIFFERENTLY = [
    b"app_env=test",
    b"App_Env=test",
    b"APP_ENV",
    b"APP_ENV: test",
    b"APP-ENV=test",
    b"1APP_ENV=test",
    b"=test",
    b"APP_ENV=te$st",
    b"APP_ENV=${OTHER}",
    b'APP_ENV="te$st"',
    b"APP_ENV=te\\st",
    b'APP_ENV="te\\nst"',
    b"APP_ENV='test",
    b'APP_ENV="test',
    b"APP_ENV='te'st'",
    b"APP_ENV='test'more",
    b"APP_ENV=te'st'",
    b"APP_ENV= # test",
    b"APP_ENV=a\t# test",
    b"APP_ENV=te\x1bst",
    b"\xff\xfeA\0P\0P\0",
]


@pytest.mark.parametrize("content", READ_DIFFERENTLY, ids=str)
def test_both_readers_refuse_what_programs_read_differently(content: bytes, folder: Path) -> None:
    (folder / ".env").write_bytes(b"LOG_LEVEL=INFO\n" + content if content[0] < 128 else content)

    with pytest.raises(SettingsRefused, match=r"\.env(, line 2: | is not UTF-8)"):
        load(folder / ".env")
    result = make_env(folder)
    assert result.returncode == 1
    assert ".env, line " in result.stderr


CHARACTERS = st.sampled_from(list("Ab1_- \t'\"#${}=:\\`é"))


@pytest.mark.slow
@settings(max_examples=150)
@given(
    beginning=st.sampled_from(["", " ", "export ", "\t"]),
    value=st.text(CHARACTERS, max_size=8),
    end=st.sampled_from(["\n", "\r\n", " # c\n", ""]),
)
def test_any_line_is_read_alike_or_refused_by_both(
    beginning: str, value: str, end: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "deploy").mkdir(exist_ok=True)
    shutil.copy(ROOT / "deploy" / "make-env.sh", folder / "deploy")
    file = folder / ".env"
    file.write_bytes(f"{beginning}NAME={value}{end}".encode())
    shell = make_env(folder, "value", "NAME")

    try:
        python: str | None = load(file)["NAME"]
    except SettingsRefused:
        python = None

    assert (shell.stdout.removesuffix("\n") if shell.returncode == 0 else None) == python
    if python is not None:
        # Compose 1.29 reads the file with this library.
        assert dotenv_values(file, interpolate=True)["NAME"] == python


def test_a_byte_order_mark_does_not_turn_a_file_of_a_developer_into_one_of_production(folder: Path) -> None:
    file = folder / ".env"
    file.write_bytes(BYTE_ORDER_MARK + b"APP_ENV=test\r\n")
    before = file.read_bytes()

    result = make_env(folder)

    assert result.returncode == 1
    assert "APP_ENV=test" in result.stderr
    assert file.read_bytes() == before
    assert profile_of(file) == "test"


@pytest.mark.parametrize(
    ("name", "nearest"), [("SMPT_URL", "SMTP_URL"), ("LIMIT_EXPORT", "LIMIT_EXPORTS"), ("XYZ", "")]
)
def test_make_up_names_a_misspelt_name_and_the_nearest_one(name: str, nearest: str, folder: Path) -> None:
    make_env(folder)
    with (folder / ".env").open("a") as file:
        file.write(f"{name}=secret-value\nCOMPOSE_PROJECT_NAME=auth\nPUBLISH_ADDRESS=127.0.0.1\n")

    result = make_env(folder)

    assert result.returncode == 1
    assert f"{name}: no setting has this name" in result.stderr
    assert (f"did you mean {nearest}?" in result.stderr) == bool(nearest)
    assert "secret-value" not in result.stdout + result.stderr


def test_make_up_names_settings_that_do_not_reach_the_containers(folder: Path) -> None:
    make_env(folder)
    with (folder / ".env").open("a") as file:
        file.write("DATABASE_URL=postgresql://elsewhere/auth\nHTTP_PORT=5005\nPASSWORD_MIN_LENGTH=12\n")

    result = make_env(folder)

    assert result.returncode == 0
    assert [line.split()[0] for line in result.stderr.splitlines()] == ["DATABASE_URL", "HTTP_PORT"]


def test_make_up_knows_every_setting(folder: Path) -> None:
    make_env(folder)
    names = [name.upper() for name in Settings.model_fields if not name.endswith("_file") and "key" not in name]
    with (folder / ".env").open("a") as file:
        file.writelines(f"{name}=1\n" for name in names if name != "APP_ENV" and "PASSWORD" not in name)

    assert make_env(folder).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "nearest"),
    [("SMPT_URL", "SMTP_URL"), ("DATABASE_URI", "DATABASE_URL"), ("MAIL_FORM", "MAIL_FROM"), ("APP_EVN", "APP_ENV")],
)
def test_a_misspelt_name_in_the_environment_is_named(
    name: str, nearest: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = bare_environment(APP_ENV="production", **{name: "secret-value"})

    result = subprocess.run(
        [sys.executable, str(MANAGE), "api"], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert f"{name}: a variable of the environment that no setting has; did you mean {nearest}?" in result.stderr
    assert "secret-value" not in result.stderr


def test_variables_of_other_programs_are_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "HTTP_PROXY",
        "NO_PROXY",
        "REDIS_PORT",
        "POSTGRES_USER",
        "GPG_KEY",
        "HOSTNAME",
        "SESSION_MANAGER",
        "LANG",
    ):
        monkeypatch.setenv(name, "x")

    assert Settings.misspelt_in_environment() == []


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()

    with pytest.raises(SettingsRefused, match=r"\.env cannot be read: Is a directory"):
        Settings.read(env_file=tmp_path / ".env")
