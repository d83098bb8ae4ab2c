"""Python package of the verifier: its wheel, its dependencies, and its Flask decorator and FastAPI dependency."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from auth_service_verifier import ConfigurationError, Verifier
from auth_service_verifier.fastapi import signed_in as fastapi_dependency
from auth_service_verifier.flask import signed_in as flask_decorator
from tests.support.actors import ApiClient, Mailbox
from tests.support.administration import Administration
from tests.support.live import ROOT, Live
from tests.support.service_client import made_key
from tests.support.verifiers import ISSUER, ask, free_port, running

PACKAGE = ROOT / "src" / "auth_service_verifier"
FRAMEWORKS = {"flask.py": "flask", "fastapi.py": "fastapi"}


def builders() -> list[str]:
    """Python interpreters that may have poetry-core: that of the tests, and that of poetry in `.ci/run`."""
    candidates = [Path(sys.executable), ROOT / ".venv" / "tools" / "bin" / "python"]
    return [
        str(python)
        for python in candidates
        if python.exists()
        and not subprocess.run([python, "-c", "import poetry.core, pip"], capture_output=True, check=False).returncode
    ]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as the README of the package says; without network if poetry-core is installed."""
    source = tmp_path_factory.mktemp("source") / PACKAGE.name
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__"))
    folder: Path = tmp_path_factory.mktemp("dist")
    python, *options = [*builders(), sys.executable][0], *(["--no-build-isolation"] if builders() else [])
    result = subprocess.run(
        [python, "-m", "pip", "wheel", "--quiet", "--no-deps", *options, "--wheel-dir", folder, source],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    if not builders() and "Could not find a version that satisfies the requirement poetry-core" in result.stderr:
        pytest.skip("poetry-core is not installed, and pip cannot reach the package index")
    assert result.returncode == 0, result.stderr
    [built] = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_has_the_modules_and_one_dependency(wheel: Path) -> None:
    assert re.fullmatch(r"auth_service_verifier-\d+\.\d+\.\d+-py3-none-any\.whl", wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [metadata] = [archive.read(name).decode() for name in names if name.endswith("/METADATA")]

    modules = {f"{PACKAGE.name}/{path.name}" for path in PACKAGE.iterdir() if path.suffix in (".py", ".typed")}
    assert {name for name in names if ".dist-info/" not in name} == modules
    required = re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE)
    assert [each.replace(" ", "") for each in required if "extra ==" not in each] == ["pyjwt[crypto](>=2.12)"]
    assert "# auth-service-verifier" in metadata, "the README is the description"


ALONE = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ("auth_service", "flask", "fastapi"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import auth_service_verifier
from auth_service_verifier import TokenInvalid, Verifier

try:
    Verifier("http://127.0.0.1:9/jwks", "http://127.0.0.1", "portal").verify("x")
except TokenInvalid:
    print(auth_service_verifier.__file__)
"""


@pytest.mark.slow
def test_the_installed_package_works_without_the_service_and_the_frameworks(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")

    result = subprocess.run(
        [sys.executable, "-c", ALONE],
        env={"PYTHONPATH": str(tmp_path / "installed")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert result.stdout.strip() == str(tmp_path / "installed" / PACKAGE.name / "__init__.py")


def test_the_package_declares_what_it_imports() -> None:
    with (PACKAGE / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    assert project["dependencies"] == ["pyjwt[crypto]>=2.12"]
    assert set(project["optional-dependencies"]) == {"flask", "fastapi"}

    for path in PACKAGE.glob("*.py"):
        imports = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imports |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imports.add((node.module or "").split(".")[0])
        foreign = imports - sys.stdlib_module_names - {PACKAGE.name}
        # `pyjwt[crypto]` brings cryptography.
        assert foreign <= {"jwt", "cryptography", FRAMEWORKS.get(path.name, "jwt")}, path.name


APPS = {
    "flask": """
import os
from flask import Flask
from auth_service_verifier import Verifier
from auth_service_verifier.flask import current_token, signed_in

verifier = Verifier(os.environ["SERVICE"] + "/.well-known/jwks.json", os.environ["ISSUER"], "portal",
    introspection_url=os.environ["SERVICE"] + "/api/v1/tokens/introspect", service_key=os.environ["SERVICE_KEY"])
app = Flask(__name__)

@app.get("/strong/<int:film>")
@signed_in(verifier, acr="aal2", max_age=600)
def strong(film): return {"film": film}

@app.get("/films/<int:film>")
@signed_in(verifier, permission="films:edit")
def films(film): return {"film": film, "permissions": sorted(current_token().permissions)}
""",
    "fastapi": """
import os
from typing import Annotated
from fastapi import Depends, FastAPI
from auth_service_verifier import AccessToken, Verifier
from auth_service_verifier.fastapi import signed_in

verifier = Verifier(os.environ["SERVICE"] + "/.well-known/jwks.json", os.environ["ISSUER"], "portal",
    introspection_url=os.environ["SERVICE"] + "/api/v1/tokens/introspect", service_key=os.environ["SERVICE_KEY"])
app = FastAPI()

@app.get("/strong/{film}", dependencies=[Depends(signed_in(verifier, acr="aal2", max_age=600))])
def strong(film: int): return {"film": film}

@app.get("/films/{film}")
def films(film: int, token: Annotated[AccessToken, Depends(signed_in(verifier, permission="films:edit"))]):
    return {"film": film, "permissions": sorted(token.permissions)}
""",
}
COMMANDS = {"flask": ["flask", "--app", "app", "run"], "fastapi": ["uvicorn", "app:app"]}


@pytest.mark.slow
@pytest.mark.parametrize("kind", APPS)
def test_oa6_frameworks_answer_with_the_challenges_of_the_verifier(
    kind: str, app: Flask, live: Live, mailbox: Mailbox, token: str, api: ApiClient, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(APPS[kind])
    editor = Administration(app, mailbox).with_permissions("editor@example.org", "films:edit")
    port = free_port()
    environment = {
        "PYTHONPATH": f"{ROOT / 'src'}:{tmp_path}",
        "SERVICE": f"http://127.0.0.1:{live.port}",
        "ISSUER": ISSUER,
        "SERVICE_KEY": made_key(app, "tokens:introspect").value,
    }

    def error(path: str, **headers: str) -> tuple[int, str | None, dict[str, Any]]:
        status, answer_headers, body = ask(port, path=path, **headers)
        return status, answer_headers.get("www-authenticate"), body.get("error") or body["detail"]

    with running([sys.executable, "-m", *COMMANDS[kind], "--port", str(port)], port, folder=tmp_path, **environment):
        granted = ask(port, path="/films/7", **editor.headers)
        assert granted[::2] == (200, {"film": 7, "permissions": ["films:edit"]})

        status, challenge, body = error("/films/7", Authorization=f"Bearer {token}")
        assert (status, challenge, body["code"], body["permission"]) == (403, None, "permission_missing", "films:edit")

        status, challenge, body = error("/strong/7", **editor.headers)
        assert (status, body["code"]) == (401, "insufficient_user_authentication")
        assert challenge == 'Bearer error="insufficient_user_authentication", acr_values="aal2", max_age="600"'
        assert (body["acr_values"], body["max_age"]) == ("aal2", 600)

        status, challenge, body = error("/films/7")
        assert (status, challenge, body["code"]) == (401, "Bearer", "token_missing")

        assert api.with_token(token, "POST", "/sign_out").status_code == 200
        status, challenge, body = error("/films/7", Authorization=f"Bearer {token}")
        assert (status, challenge, body["code"]) == (401, 'Bearer error="invalid_token"', "token_invalid")


def test_a_protected_endpoint_with_wrong_requirements_is_found_at_the_start() -> None:
    verifier = Verifier("http://127.0.0.1:9/jwks", ISSUER, "portal")

    for protect in (flask_decorator, fastapi_dependency):
        with pytest.raises(ConfigurationError, match=r"^permission: "):
            protect(verifier, permission="films:edit")
