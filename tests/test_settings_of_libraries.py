"""Settings that a library interprets later (URLs, hosts, files): refused at the start, in words, without the value."""

import subprocess
import sys
import traceback
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_service.app import create_app
from auth_service.embedded import engines
from auth_service.settings import Settings, SettingsRefused
from tests.support.commands import bare_environment

ROOT = Path(__file__).parents[1]
SECRET = "Hunter2w"

POSTGRES = [
    "postgresql://auth:p@ss:Hunter2w/rd@localhost/d",
    "postgresql://auth:Hunter2w@rd@localhost/d",
    "postgresql://auth:p@ss/Hunter2w@localhost/d",
    "postgresql://auth:p@ss?Hunter2w@localhost/d",
    "postgresql://auth:Hunter2w@localhost:54x2/d",
    "postgresql://auth:Hunter2w@localhost:0/d",
    "postgresql://auth:Hunter2w@localhost:99999/d",
    "postgresql://auth:Hunter2w@[::1/d",
    "postgresql://auth:Hunter2w@[::x]/d",
    "postgresql://auth:Hunter2w@local host/d",
    "postgresql://auth:Hunter2w%00@localhost/d",
    "postgresql://auth:Hunter2w@localhost/d#fragment",
    "postgresql://auth:Hunter2w@localhost/d/e",
    "postgresql://auth:Hunter2w@localhost/d?Hunter2w=1",
    "postgresql://auth:Hunter2w@localhost/d?plugin=Hunter2w",
    "postgresql://auth:Hunter2w@localhost/d?sslmode=on",
    "postgresql://auth:Hunter2w@localhost/d?sslmode=require&sslmode=disable",
    "postgresql://auth:Hunter2w@localhost/d?connect_timeout=5s",
    "postgresql://auth:Hunter2w@localhost/d?port=x",
    "postgresql://auth:Hunter2w@localhost/d?sslrootcert=/missing/ca.pem",
    "postgresql://auth:Hunter2w@localhost/d?target_session_attrs=writable",
    "mysql://auth:Hunter2w@localhost/d",
    "auth:Hunter2w@localhost/d",
    "//auth:Hunter2w@localhost/d",
    "postgresql:auth:Hunter2w@localhost/d",
    "Hunter2w",
]
REDIS = [
    "redis://auth:p@ss:Hunter2w/rd@localhost:6379/0",
    "redis://:Hunter2w/rd@localhost:6379/0",
    "redis://:Hunter2w#rd@localhost:6379/0",
    "redis://:Hunter2w?rd@localhost:6379/0",
    "redis://:Hunter2w@localhost:63x9/0",
    "redis://:Hunter2w@localhost:0/0",
    "redis://:Hunter2w@localhost:70000/0",
    "redis://:Hunter2w@/0",
    "redis://:Hunter2w@local host/0",
    "redis://:Hunter2w@[::1/0",
    "redis://:Hunter2w%0a@localhost/0",
    "redis://:Hunter2w%ff@localhost/0",
    "redis://:Hunter2w@localhost/first",
    "redis://:Hunter2w@localhost/0/1",
    "redis://:Hunter2w@localhost/-1",
    "redis://:Hunter2w@localhost/0?Hunter2w",
    "redis://:Hunter2w@localhost/0?Hunter2w=1",
    "redis://:Hunter2w@localhost/0?db=one",
    "redis://:Hunter2w@localhost/0?protocol=4",
    "redis://:Hunter2w@localhost/0?socket_timeout=60",
    "redis://:Hunter2w@localhost/0?ssl_cert_reqs=none",
    "rediss://:Hunter2w@localhost/0?ssl_cert_reqs=perhaps",
    "rediss://:Hunter2w@localhost/0?ssl_ca_certs=/missing/ca.pem",
    "unix://:Hunter2w@/run/redis.sock",
    "http://:Hunter2w@localhost",
    "Hunter2w",
]
SMTP = [
    "console://Hunter2w",
    "smtp://",
    "http://mail.example.org/Hunter2w",
    "smtp://user:Hunter2w@mail.example.org",
    "smtps://user:p@ss:Hunter2w@mail.example.org",
    "smtps://user:Hunter2w@mail.example.org:0",
    "smtps://user:Hunter2w@mail.example.org:70000",
    "smtps://user:Hunter2w@mail.example.org/inbox",
    "smtps://user:Hunter2w@mail.example.org?timeout=5",
    "smtps://user:Hunter2w@[::x]",
    "smtps://user:Hunter2w%0d%0a@mail.example.org",
]
OTHERS = [
    ("HTTP_HOST", "http://127.0.0.1"),
    ("HTTP_HOST", "127.0.0.1:5000"),
    ("HTTP_HOST", "[127.0.0.1]"),
    ("METRICS_HOST", "not a host"),
    ("METRICS_HOST", "/run/metrics.sock"),
    ("METRICS_PORT", "5000"),
    ("PUBLIC_URL", "https://[::x]"),
    ("PUBLIC_URL", "https://-portal.example.org"),
    ("PUBLIC_URL", "https://portal..example.org"),
    ("CORS_ORIGINS", "https://portal.example.org,,"),
    ("CORS_ORIGINS", "https://[1.2.3.4]"),
    ("TRUSTED_PROXIES", "10.0.0.0/33"),
    ("TRUSTED_PROXIES", "10.0.0.1-10.0.0.9"),
    ("TRUSTED_PROXIES", "10.0.0.0/8,"),
    ("TRUSTED_PROXIES", "nginx"),
    ("SERVICE_NAME", "Portal\r\nBcc: all@example.org"),
    ("TOKEN_AUDIENCE", "por\ntal"),
    ("CODE_KEY_FILE", "/missing/code_key"),
    ("CODE_KEY_FILE", "/"),
    ("MIGRATION_DATABASE_URL", "postgresql://owner:p@ss:Hunter2w/rd@localhost/d"),
    ("LIMIT_SIGN_INS", "Hunter2w"),
    ("ACCESS_TOKEN_SECONDS", "1e9"),
]
CASES = [
    *(("DATABASE_URL", value) for value in POSTGRES),
    *(("REDIS_URL", value) for value in REDIS),
    *(("SMTP_URL", value) for value in SMTP),
    *OTHERS,
]


@pytest.mark.parametrize(("name", "value"), CASES, ids=str)
def test_a_value_that_a_library_would_refuse_later_is_refused_at_the_start(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsRefused) as refused:
        Settings.read(env_file=None, app_env="test", http_port=5000)

    [line] = str(refused.value).splitlines()
    assert line.startswith(f"{name}: ")
    shown = "".join(traceback.format_exception(refused.value))
    assert SECRET not in shown
    assert SECRET not in repr(refused.value.__context__)


ACCEPTED = [
    ("database_url", "postgres://auth:p%40ss%2Frd@localhost/d"),
    ("database_url", "postgresql://auth:with:colon/and/slash@localhost:5433/d"),
    ("database_url", "postgresql://auth@[2001:db8::1]:5433/d?sslmode=verify-full&sslrootcert=system"),
    ("database_url", "postgresql://auth:secret@one.example.org,two.example.org/d?target_session_attrs=read-write"),
    ("database_url", "postgresql:///d?host=/var/run/postgresql&options=-csearch_path%3Dportal"),
    ("database_url", "postgresql://auth:secret@/d?host=one:5432&host=two:5433"),
    ("redis_url", "redis://localhost"),
    ("redis_url", "redis://auth:p%40ss%2Frd@redis.example.org:6380/15"),
    ("redis_url", "redis://:with:colon@[::1]:6379/0?client_name=auth"),
    ("redis_url", "rediss://redis.example.org/0?ssl_cert_reqs=none&ssl_check_hostname=false"),
    ("smtp_url", "smtp+starttls://user:p%40ss@mail.example.org:587"),
]


@pytest.mark.parametrize(("name", "value"), ACCEPTED, ids=str)
def test_an_accepted_url_builds_an_application(name: str, value: str, tmp_path: Path) -> None:
    values = {"database_url": "postgresql://a@b/c", "redis_url": "redis://b", name: value}
    create_app(Settings.read(env_file=None, app_env="test", data_dir=tmp_path, **values).completed())


@given(
    scheme=st.sampled_from(["postgresql", "redis", "rediss"]),
    text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40),
)
def test_every_url_is_accepted_by_the_libraries_or_refused_by_name(
    scheme: str, text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    name = "database_url" if scheme == "postgresql" else "redis_url"
    values = {"database_url": "postgresql://a@b/c", "redis_url": "redis://b", name: f"{scheme}://{text}"}
    with suppress(SettingsRefused):
        settings = Settings.read(env_file=None, app_env="test", data_dir=tmp_path_factory.getbasetemp(), **values)
        create_app(settings.completed())


@pytest.mark.parametrize(
    "command",
    [
        ["manage.py", "api"],
        ["manage.py", "db", "upgrade"],
        ["manage.py", "doctor"],
        ["manage.py", "keys", "list"],
        ["manage.py", "mail", "deliver"],
        ["manage.py", "maintenance"],
        ["manage.py", "service-keys", "list"],
        ["manage.py", "users", "import", "/dev/null"],
        ["-m", "flask", "--app", "manage:app_for_commands", "db", "upgrade"],
        ["-m", "gunicorn", "--config", "deploy/gunicorn.conf.py"],
    ],
    ids=" ".join,
)
@pytest.mark.slow
def test_every_command_names_the_setting_and_prints_no_traceback(command: list[str], tmp_path: Path) -> None:
    environment = {
        **bare_environment(),
        "PYTHONPATH": str(ROOT / "src"),
        "APP_ENV": "test",
        "DATA_DIR": str(tmp_path),
        "DATABASE_URL": POSTGRES[0],
        "REDIS_URL": REDIS[0],
        "SMTP_URL": SMTP[0],
        "SMPT_URL": "smtp://mail.example.org",
    }

    result = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    printed = result.stdout + result.stderr
    assert result.returncode != 0
    for name in ("DATABASE_URL: ", "REDIS_URL: ", "SMTP_URL: "):
        assert name in printed
    assert "did you mean SMTP_URL?" in printed
    assert "Traceback" not in printed
    assert SECRET not in printed


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 64])
def test_a_damaged_secret_of_the_data_folder_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "code_key.secret").write_bytes(content)

    with pytest.raises(SettingsRefused, match=r"^DATA_DIR: .*code_key.secret is damaged"):
        Settings.read(env_file=None, app_env="test", data_dir=tmp_path).completed()


def test_a_data_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(SettingsRefused, match=r"^DATA_DIR: .* cannot be used: "):
        Settings.read(env_file=None, app_env="test", data_dir=tmp_path / "file").completed()


def test_a_data_folder_that_engines_cannot_use_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "access.json").write_text("{")

    with pytest.raises(engines.EngineError, match=r"^DATA_DIR: .* cannot be used: "):
        ExitStack().enter_context(engines.running(data_dir=tmp_path / "file" / "data"))
    with pytest.raises(engines.EngineError, match=r"access.json is damaged"):
        ExitStack().enter_context(engines.running(data_dir=tmp_path / "damaged"))
