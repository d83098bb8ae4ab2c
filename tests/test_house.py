"""House rules: authorization of routes, module size, commits, locks, SQL parameters and test imports."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from auth_service.db.advisory_locks import Lock
from auth_service.errors import ServiceError, error_classes
from tests.support.contracts import contracts

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LONGEST_MODULE = 320
"""Lines. A longer module has more than one noun."""

OPEN_ENDPOINTS = {
    ("POST", "/api/v1/users/sign_in/passkey"),
    ("POST", "/api/v1/users/sign_in/passkey/options"),
    ("POST", "/api/v1/users/sign_in/second_step/passkey"),
    ("POST", "/api/v1/users/sign_in/second_step/passkey/options"),
    ("GET", "/api/v1/users"),
    ("POST", "/api/v1/users/sign_up"),
    ("POST", "/api/v1/users/<user_id:user_id>/send_code"),
    ("POST", "/api/v1/users/<user_id:user_id>/resend_code"),
    ("PUT", "/api/v1/users/<user_id:user_id>/mail"),
    ("PATCH", "/api/v1/users/<user_id:user_id>/sign_up"),
    ("POST", "/api/v1/users/sign_in"),
    ("POST", "/api/v1/users/sign_in/send_code"),
    ("POST", "/api/v1/users/sign_in/code"),
    ("POST", "/api/v1/users/sign_in/second_step"),
    ("POST", "/api/v1/users/sign_in/second_step/reset"),
    ("POST", "/api/v1/users/sign_in/second_step/reset/cancel"),
    ("POST", "/api/v1/users/refresh_token"),
    ("POST", "/api/v1/users/password/send_code"),
    ("PUT", "/api/v1/users/password"),
    ("POST", "/api/v1/users/undo"),
    ("POST", "/api/v1/users/invitation"),
    ("POST", "/api/v1/users/invitation/accept"),
    ("POST", "/api/v1/tokens/revoke"),
    ("GET", "/api/v1/errors"),
}
"""Endpoints for unauthenticated requests. Review the attack surface before you add one."""

WITHOUT_CONTRACT = {
    "/api/swagger",
    "/api/swagger.json",
    "/api/openapi",
    "/api/openapi.json",
    "/swaggerui/<path:filename>",
    "/health/live",
    "/health/ready",
    "/.well-known/jwks.json",
    "/.well-known/oauth-authorization-server",
    "/.well-known/passkey-endpoints",
    "/.well-known/change-password",
    "/.well-known/webauthn",
    "/account/undo",
    "/account/invitation",
    "/account/second_factor_reset",
    "/dev/inbox",  # `local` and `test` only
}


def test_az1_every_route_declares_who_may_call_it(app: Flask) -> None:
    undeclared = {path for _, path, contract in contracts(app) if contract is None}

    assert undeclared == WITHOUT_CONTRACT


def test_az1_only_the_listed_endpoints_accept_unauthenticated_requests(app: Flask) -> None:
    open_endpoints = {
        (method, path) for method, path, contract in contracts(app) if contract and contract.access.is_open
    }

    assert open_endpoints == OPEN_ENDPOINTS


def test_advisory_lock_ids_are_unique() -> None:
    """`Lock` is unique by itself; this checks that no other source has a number, and SQL only its own."""
    numbers = {
        path.name: {int(number) for number in re.findall(r"\b7_?251[\d_]{12,}\b", path.read_text("utf-8"))}
        for path in [*SOURCES, *(ROOT / "migrations").rglob("*.py")]
    }

    assert {name: ids for name, ids in numbers.items() if ids} == {
        "advisory_locks.py": set(Lock),
        "0004_events.py": {Lock.HISTORY},
        "0007_outbox_failures_roles.py": {Lock.HISTORY},
        "0008_user_administration.py": {Lock.HISTORY},
    }


COMMITS = {
    "db/transaction.py": "the unit of work",
    "services/maintenance.py": "consecutive transactions under one advisory lock",
}
"""The modules that commit, and what they commit."""


def test_only_the_listed_modules_commit() -> None:
    commits = re.compile(r"\.commit\(|(engine|connection)\.begin\(|autocommit = True|db\.session")
    package = ROOT / "src" / "auth_service"
    modules = {str(path.relative_to(package)) for path in SOURCES if commits.search(path.read_text("utf-8"))}

    assert modules == COMMITS.keys()


@pytest.mark.parametrize("error", list(error_classes()), ids=lambda error: error.code)
def test_every_error_has_a_message_and_is_documented_and_tested(error: type[ServiceError]) -> None:
    assert re.fullmatch(r"[A-Z][^?]*[^?.]\.", error.message)
    assert f"`{error.code}`" in (ROOT / "docs" / "errors.md").read_text("utf-8")
    tests = [path.read_text("utf-8") for path in TESTS if path.name != "test_house.py"]
    assert any(re.search(rf"[\"']{error.code}[\"']", text) for text in tests), "no test expects it"


def test_error_codes_are_unique() -> None:
    codes = [error.code for error in error_classes()]

    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_modules_are_small_and_have_a_docstring_and_a_specific_name(path: Path) -> None:
    text = path.read_text("utf-8")

    assert text.startswith('"""'), "a module begins with a docstring"
    assert len(text.splitlines()) <= LONGEST_MODULE
    assert path.stem not in {"utils", "common", "helpers", "base_service", "misc"}


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT / "tests")))
def test_modules_of_the_tests_are_small(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST_MODULE, "split it along its nouns"


def test_in7_sql_uses_bound_parameters_only() -> None:
    formatted = re.compile(r"(?:text|execute)\(\s*f[\"']")
    for path in [*SOURCES, *(ROOT / "migrations").rglob("*.py")]:
        assert not formatted.search(path.read_text("utf-8")), path


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules that a module may have imported, with the names it imports from them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_test_modules_share_code_through_the_support_package_only() -> None:
    """A test module that another one imports cannot be moved or deleted; fixtures of a conftest are found by name."""
    of_one_module = re.compile(r"(^|\.)(test_\w+|conftest)(\.|$)")

    imports = {
        (str(path.relative_to(ROOT)), name)
        for path in TESTS
        for name in imported(ast.parse(path.read_text("utf-8")))
        if name.split(".")[0] in {"tests", "conftest"} and of_one_module.search(name)
    }

    assert imports == set()


OURS = {"auth_service", "tests"}


def patches(tree: ast.Module) -> Iterator[int]:
    """The lines where a test module sets an attribute of our own code, or of an object that it does not import."""
    ours, libraries = _imported_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            if _root(node) in ours:
                yield node.lineno
        elif isinstance(node, ast.Call) and node.args and _last(node.func) in {"setattr", "delattr"}:
            # A `setattr` of pytest's MonkeyPatch may change a library, such as `monkeypatch.setattr(os, "geteuid", …)`.
            target = node.args[0]
            if isinstance(target, ast.Constant):
                is_patch = str(target.value).split(".")[0] in OURS
            elif isinstance(node.func, ast.Attribute):
                is_patch = _root(target) not in libraries
            else:
                is_patch = _root(target) in ours
            if is_patch:
                yield node.lineno


def _imported_names(tree: ast.Module) -> tuple[set[str], set[str]]:
    """The names that a module imports from our own code, and those from libraries."""
    ours, libraries = set[str](), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                package = ((isinstance(node, ast.ImportFrom) and node.module) or alias.name).split(".")[0]
                (ours if package in OURS else libraries).add(alias.asname or alias.name.split(".")[0])
    return ours, libraries


def _last(function: ast.expr) -> str:
    """The last name of a dotted one: `setattr` for `monkeypatch.setattr`."""
    return function.attr if isinstance(function, ast.Attribute) else _root(function)


def _root(target: ast.expr) -> str:
    """The first name of a dotted one: `os` for `os.path`."""
    while isinstance(target, ast.Attribute | ast.Subscript | ast.Call):
        target = target.func if isinstance(target, ast.Call) else target.value
    return target.id if isinstance(target, ast.Name) else ""


PATCHES = """
import os
from auth_service import clock
from auth_service.services.credentials.passwords import Passwords
monkeypatch.setattr("auth_service.clock.monotonic", stopped)
monkeypatch.setattr(clock, "monotonic", stopped)
monkeypatch.setattr(hasher, "hash", rejecting)
setattr(Passwords, "verify", counting)
Passwords.verify = counting
del clock.monotonic
monkeypatch.setattr(os, "geteuid", root)
monkeypatch.setattr("sys.stderr", stream)
monkeypatch.setitem(app.extensions, "auth_service", services)
self.clock = clock
"""


def test_tests_patch_libraries_only_and_pass_other_parts_in() -> None:
    """A patched service is not the one that runs in production; `rewired` and parameters pass in other parts."""
    assert sorted(patches(ast.parse(PATCHES))) == [5, 6, 7, 8, 9, 10]

    places, mocks = [], []
    for path in TESTS:
        tree = ast.parse(path.read_text("utf-8"))
        places += [f"{path}:{line}" for line in patches(tree)]
        mocks += [path for name in imported(tree) if {"mock", "unittest"} & set(name.split("."))]

    assert places == []
    assert mocks == [], "pass in another implementation instead of a mock"


def test_a_conftest_holds_fixtures_and_hooks_only() -> None:
    for path in (path for path in TESTS if path.name == "conftest.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            assert not isinstance(node, ast.ClassDef), f"move {path}:{node.lineno} to tests/support"
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("pytest_"):
                assert any("fixture" in ast.unparse(decorator) for decorator in node.decorator_list), (
                    f"move {path}:{node.lineno} to tests/support"
                )
