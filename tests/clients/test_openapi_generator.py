"""Clients of OpenAPI Generator for Python, Go, TypeScript and Java (OA3): no warnings, strict, against the service."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.generated_clients import CLIENTS, DOCUMENT, JARS, STEPS, check_types, run, steps
from tests.support.live import Live
from tests.support.node import install, npm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SOURCES = CLIENTS / "openapi_generator"
GENERATOR = JARS / "openapi-generator-cli.jar"
CONFIGURATIONS = ["python.yaml", "go.yaml", "typescript-fetch.yaml", "java.yaml"]
NOT_INSTALLED = "{} is not installed (.ci/run installs it)"

OF_THE_TOOL = {
    "DefaultCodegen: OpenAPI 3.1 support is still in beta.": "of every document of OpenAPI 3.1",
    "ModelUtils: Failed to get the schema name: null": "for Python: of every document with a property",
    "AbstractPythonCodegen: From (reserved word) cannot be used as model name. Renamed to ModelFrom": (
        "for Python: it names a model after each parameter, here `from`, also where it needs none"
    ),
}
"""Warnings of OpenAPI Generator about itself, by their beginning, with the reason."""


def program(name: str) -> str:
    """The path of a program; skips the test if it is missing."""
    path = shutil.which(name)
    if not path:
        pytest.skip(NOT_INSTALLED.format(name))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the flows and configurations."""
    folder = tmp_path_factory.mktemp("openapi_generator")
    shutil.copytree(SOURCES, folder, dirs_exist_ok=True)
    shutil.copy(DOCUMENT, folder)
    return folder


@pytest.fixture(scope="module")
def warnings(folder: Path) -> list[str]:
    """Generate all clients into that folder, by one process; return its warnings."""
    java = program("java")
    if not GENERATOR.exists():
        pytest.skip(NOT_INSTALLED.format("OpenAPI Generator"))
    # It ends before optimized code would be faster.
    options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dlogback.configurationFile=warnings.xml"]
    printed = run([java, *options, "-jar", GENERATOR, "batch", "--fail-fast", *CONFIGURATIONS], folder)
    return [line for line in printed.splitlines() if line.startswith(("WARN ", "ERROR "))]


def test_oa3_openapi_generator_has_no_warning_about_the_document(warnings: list[str]) -> None:
    about_itself = {each for each in OF_THE_TOOL for line in warnings if line.startswith(f"WARN {each}")}

    assert [line for line in warnings if not line.removeprefix("WARN ").startswith(tuple(OF_THE_TOOL))] == []
    assert about_itself == OF_THE_TOOL.keys(), "remove from the list what the tool no longer says"


@pytest.mark.usefixtures("warnings")
def test_oa3_the_python_client_of_openapi_generator(folder: Path, live: Live) -> None:
    check_types(folder / "python")
    printed = run(
        [sys.executable, "flow.py", f"http://127.0.0.1:{live.port}", "urllib3@example.org"], folder / "python"
    )

    assert steps(printed) == STEPS


@pytest.mark.usefixtures("warnings")
def test_oa3_the_go_client_of_openapi_generator(folder: Path, live: Live) -> None:
    go, environment = program("go"), {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    download = subprocess.run([go, "mod", "download"], cwd=folder / "go", capture_output=True, check=False)
    if download.returncode:
        pytest.skip("go cannot download modules, and .ci/client_tools.sh has not")
    # Without optimizations, because the compiler is most of the test.
    run(
        [go, "build", "-mod=readonly", "-buildvcs=false", "-gcflags=all=-N -l", "-o", "flow", "."],
        folder / "go",
        **environment,
    )
    printed = run([folder / "go" / "flow", f"http://127.0.0.1:{live.port}", "go@example.org"], folder)

    assert steps(printed) == STEPS


@pytest.mark.usefixtures("warnings")
def test_oa3_the_typescript_client_of_openapi_generator(folder: Path, live: Live) -> None:
    client = install(CLIENTS / "typescript", folder / "typescript")
    run([npm(), "exec", "--offline", "--", "tsc", "-p", "."], client)
    printed = run(["node", "out/flow.js", f"http://127.0.0.1:{live.port}", "fetch@example.org"], client)

    assert steps(printed) == STEPS


@pytest.mark.usefixtures("warnings")
def test_oa3_the_java_client_of_openapi_generator_compiles_without_warnings(folder: Path) -> None:
    javac = program("javac")
    sources = sorted((folder / "java" / "src" / "main").rglob("*.java"))
    assert len(sources) > 100

    # The generator contains Jackson, which the client uses, too. Its templates call a deprecated method of Jackson.
    libraries = os.pathsep.join(str(each) for each in JARS.glob("*.jar"))
    lint = ["-proc:none", "-Xlint:all,-processing,-serial,-deprecation", "-Werror"]
    run([javac, "-J-XX:TieredStopAtLevel=1", *lint, "-cp", libraries, "-d", "classes", *sources], folder / "java")
