"""Dockerfile, Compose files and make-env.sh: checked against the code and each other without starting a container."""

import ast
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import KNOWN_SETTINGS

from auth_service.settings import SECRETS, Settings

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PRODUCTION = ROOT / "docker-compose.yml"
LOCAL = ROOT / "docker-compose.local.yml"

NOT_FOR_CONTAINERS = {
    "HTTP_HOST": "the Dockerfile sets it",
    "HTTP_PORT": "the Dockerfile sets it",
    "LISTEN_BEYOND_LOOPBACK": "production does",
    "DATA_DIR": "production has no data folder",
    "MIGRATION_DATABASE_URL": "only migrate may have it",
    "CODE_KEY_FILE": "the key itself is passed; make-env.sh refuses a file",
    "OUTBOX_KEY_FILE": "the key itself is passed; make-env.sh refuses a file",
    "SESSION_KEY_FILE": "the key itself is passed; make-env.sh refuses a file",
    "KEYRING_KEY_FILE": "the key itself is passed; make-env.sh refuses a file",
    "SECOND_FACTOR_KEY_FILE": "the key itself is passed; make-env.sh refuses a file",
    "SECOND_FACTOR_KEY_PREVIOUS_FILE": "the key itself is passed",
    "PUBLISH_PORT": "for Compose",
    "POSTGRES_PASSWORD": "for Compose",
    "APP_DATABASE_PASSWORD": "for Compose",
    "REDIS_PASSWORD": "for Compose",
}
LONG_RUNNING = {"api", "mailer", "postgres", "redis", "nginx"}


def compose(path: Path) -> Any:
    """A Compose file, its anchors resolved and its `${…}` unchanged."""
    yaml: Any = pytest.importorskip("yaml")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def with_defaults(text: str) -> str:
    """A value of a Compose file with an empty environment."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def names_in(path: Path) -> list[str]:
    """The names that an environment file gives values to."""
    return re.findall(r"^(\w+)=", path.read_text(encoding="utf-8"), re.MULTILINE)


# The settings.


def test_each_setting_reaches_the_containers_or_is_left_out_for_a_reason() -> None:
    passed = set(compose(PRODUCTION)["services"]["api"]["environment"])

    assert passed | set(NOT_FOR_CONTAINERS) == {name.upper() for name in Settings.model_fields}
    assert not passed & set(NOT_FOR_CONTAINERS)


def test_cf4_only_migrate_knows_the_owner_of_the_database() -> None:
    services = compose(PRODUCTION)["services"]

    knowing = {name for name, service in services.items() if "${POSTGRES_PASSWORD" in str(service)}
    assert knowing == {"migrate", "postgres"}


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that make-env.sh needs, in an environment without settings."""
    monkeypatch.delenv("APP_ENV", raising=False)
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "deploy" / "make-env.sh", tmp_path / "deploy")
    shutil.copy(PRODUCTION, tmp_path)
    return tmp_path


def make_env(clone: Path, *, tools: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run make-env.sh; with `tools`, on a machine that has these commands only."""
    path = os.environ["PATH"]
    if tools is not None:
        bin_dir = clone / "bin"
        bin_dir.mkdir()
        for tool in tools.split():
            # The interpreter itself: `python3` in the PATH may be a script that needs other tools.
            executable = os.path.realpath(sys.executable) if tool == "python3" else shutil.which(tool)
            (bin_dir / tool).symlink_to(executable or pytest.skip(f"there is no {tool} here"))
        path = str(bin_dir)
    shell = shutil.which("sh") or "/bin/sh"
    return subprocess.run(
        [shell, "deploy/make-env.sh"], cwd=clone, env={"PATH": path}, capture_output=True, text=True, check=False
    )


ALWAYS = "cat mv rm tr od sed tail"


@pytest.mark.parametrize("tools", [f"{ALWAYS} openssl", f"{ALWAYS} python3", ALWAYS])
def test_cf2_production_accepts_the_env_file_of_make_env(clone: Path, tools: str) -> None:
    result = make_env(clone, tools=tools)

    assert result.returncode == 0, result.stderr
    env = clone / ".env"
    settings = Settings.read(env_file=env, database_url="postgresql://a@b/c", redis_url="redis://b")
    assert settings.production
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    secrets = re.findall(r"^\w+(?:KEY|PASSWORD)=(.*)$", env.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(set(secrets)) == 8
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43,}", secret) for secret in secrets)
    assert not any(secret in result.stdout for secret in secrets)
    assert all(name in result.stdout for name in ("PUBLIC_URL", "MAIL_FROM", "SMTP_URL"))
    assert all(
        what in result.stdout
        for what in ("codes", "emails", "sessions", "signing keys", "second factors", "PostgreSQL", "Redis")
    )


def test_make_env_keeps_an_existing_env_file(clone: Path) -> None:
    make_env(clone)
    before = (clone / ".env").read_bytes()

    assert make_env(clone).returncode == 0
    assert (clone / ".env").read_bytes() == before


@pytest.mark.parametrize("name", [name.upper() for name in SECRETS])
def test_make_env_adds_a_missing_secret_and_rejects_a_secret_file(clone: Path, name: str) -> None:
    make_env(clone)
    env = clone / ".env"
    older = re.sub(rf"^{name}=.*\n", "", env.read_text("utf-8"), flags=re.MULTILINE)

    env.write_text(older, "utf-8")
    assert make_env(clone).stdout == f"Added a new {name} to .env.\n"
    assert names_in(env).count(name) == 1

    env.write_text(f"{older}{name}_FILE=/run/secret\n", "utf-8")
    result = make_env(clone)
    assert result.returncode == 1
    assert f"write {name}=" in result.stderr
    assert name not in names_in(env)


@pytest.mark.parametrize("line", ["APP_ENV=test", 'APP_ENV="local"', "export APP_ENV = 'test'"])
def test_production_does_not_start_with_the_env_of_another_profile(clone: Path, line: str) -> None:
    (clone / ".env").write_text(f"LOG_LEVEL=INFO\n{line}\n", encoding="utf-8")

    result = make_env(clone)

    assert result.returncode == 1
    assert "make up_local_compose" in result.stderr
    assert names_in(clone / ".env")[0] == "LOG_LEVEL"


def test_the_env_file_of_the_tests_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APP_ENV", raising=False)

    assert Settings.read(env_file=ROOT / ".env.test").app_env == "test"


def test_both_env_files_have_the_variables_that_compose_requires(clone: Path) -> None:
    make_env(clone)
    required = set(re.findall(r"\$\{(\w+)[:}](?!-)", PRODUCTION.read_text(encoding="utf-8")))

    assert required <= set(names_in(clone / ".env"))
    assert required <= set(names_in(ROOT / ".env.test"))


# The Compose files.


@pytest.mark.parametrize("name", sorted(LONG_RUNNING | {"migrate"}))
def test_dp4_containers_have_few_privileges_and_resource_limits(name: str) -> None:
    service = compose(PRODUCTION)["services"][name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert ("cap_add" in service) == (name == "redis")
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert service["logging"]["options"]["max-size"]
    assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")


def test_every_long_running_container_has_a_health_check() -> None:
    services = compose(PRODUCTION)["services"]

    watched = {name for name, service in services.items() if "test" in service.get("healthcheck", {})}
    assert watched | {"api"} == LONG_RUNNING
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_nothing_starts_before_the_migrations_have_ended() -> None:
    services = compose(PRODUCTION)["services"]

    for name in ("api", "mailer"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_only_nginx_is_reached_from_outside_and_it_does_not_reach_the_stores() -> None:
    file = compose(PRODUCTION)
    services = file["services"]

    assert [name for name, service in services.items() if "ports" in service] == ["nginx"]
    inside = {network for name in ("postgres", "redis") for network in services[name]["networks"]}
    assert not inside & set(services["nginx"]["networks"])
    assert all(file["networks"][network]["internal"] for network in [*inside, *services["api"]["networks"]])


def test_the_compose_file_of_developers_publishes_on_loopback_only() -> None:
    published = [port for service in compose(LOCAL)["services"].values() for port in service.get("ports", [])]

    assert len(published) == 4
    assert all(port.startswith("127.0.0.1:") for port in published)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^LOCAL = PUBLISH_ADDRESS=127\.0\.0\.1 ", makefile, re.MULTILINE)


def test_the_one_trusted_proxy_is_nginx_and_nginx_knows_the_api() -> None:
    services = compose(PRODUCTION)["services"]
    addresses = {name: services[name]["networks"]["front"]["ipv4_address"] for name in ("nginx", "api")}

    assert services["api"]["environment"]["TRUSTED_PROXIES"] == f"{addresses['nginx']}/32"
    assert services["nginx"]["extra_hosts"] == [f"api:{addresses['api']}"]
    read = Settings.read(env_file=None, trusted_proxies=with_defaults(f"{addresses['nginx']}/32"))
    assert [network.num_addresses for network in read.trusted_proxies] == [1]


@pytest.mark.parametrize("path", [PRODUCTION, LOCAL])
def test_dp1_images_are_pinned(path: Path) -> None:
    services = compose(path)["services"]
    foreign = [image for one in services.values() if not (image := one.get("image", "auth-service")).startswith("auth")]

    assert foreign
    assert all(re.fullmatch(r"[\w./-]+:v?\d[\w.-]*", image) for image in foreign)


# The image, and what runs in it.


def test_dp4_the_image_runs_as_an_unprivileged_user_and_contains_no_compiler() -> None:
    last = (ROOT / "Dockerfile").read_text(encoding="utf-8").split("\nFROM ")[-1]

    assert re.match(r"python:3\.\d+-slim\n", last)
    assert re.findall(r"^USER (.+)$", last, re.MULTILINE) == ["10001:10001"]
    assert not re.findall(r"^RUN ", last, re.MULTILINE)
    assert set(re.findall(r"^COPY (.*)$", last, re.MULTILINE)) == {"--from=build /venv /venv", "--from=build /app /app"}


def test_dp1_the_image_installs_locked_versions_only() -> None:
    build = (ROOT / "Dockerfile").read_text(encoding="utf-8")

    assert "--require-hashes" in build
    assert "--only-binary :all:" in build
    assert (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()[1] == "*"


def test_gunicorn_has_each_setting_of_its_configuration() -> None:
    # gunicorn silently ignores a misspelt setting.
    tree = ast.parse((ROOT / "deploy" / "gunicorn.conf.py").read_text(encoding="utf-8"))
    assigned = {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets}  # type: ignore[attr-defined]

    assert assigned
    assert assigned <= {setting.name for setting in KNOWN_SETTINGS}


def eventually(condition: Callable[[], bool], *, within: float = 15.0) -> bool:
    """Whether a condition becomes true in time."""
    give_up_at = time.monotonic() + within
    while not condition():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.05)
    return True


def test_a_changed_source_restarts_the_command(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "src").mkdir()
    source = tmp_path / "src" / "module.py"
    source.write_text("first = 1\n", encoding="utf-8")
    shutil.copy(ROOT / "deploy" / "reload.py", tmp_path / "deploy")
    starts = tmp_path / "starts"
    starts.touch()
    command = f"from time import sleep; print('started', file=open({str(starts)!r}, 'a'), flush=True); sleep(60)"

    running = subprocess.Popen([sys.executable, tmp_path / "deploy" / "reload.py", sys.executable, "-c", command])
    try:
        assert eventually(lambda: starts.read_text(encoding="utf-8").count("started") == 1)
        source.write_text("second = 2\n", encoding="utf-8")
        assert eventually(lambda: starts.read_text(encoding="utf-8").count("started") == 2)
    finally:
        running.terminate()
    assert running.wait(15) == 0


def test_every_shell_script_is_checked() -> None:
    begins_with_a_shell = re.compile(r"#!.*\b(?:ba)?sh\n")
    scripts = {
        str(path.relative_to(ROOT))
        for folder in (".ci", "deploy")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and begins_with_a_shell.match(path.read_text("utf-8", errors="replace"))
    }
    (checked,) = re.findall(r'^scripts="(.*)"$', (ROOT / ".ci" / "check").read_text("utf-8"), re.MULTILINE)

    assert set(checked.split()) == scripts
