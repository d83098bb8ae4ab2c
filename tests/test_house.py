"""The rules of the house that linters cannot see."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from auth_service.cli.docs import error_classes
from auth_service.db.advisory_locks import Lock
from auth_service.errors import ServiceError

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))

OPEN_DOORS = {
    ("GET", "/api/v1/users"),
    ("POST", "/api/v1/users/sign_up"),
    ("POST", "/api/v1/users/<user_id:user_id>/send_code"),
    ("POST", "/api/v1/users/<user_id:user_id>/resend_code"),
    ("PUT", "/api/v1/users/<user_id:user_id>/mail"),
    ("PATCH", "/api/v1/users/<user_id:user_id>/sign_up"),
    ("POST", "/api/v1/users/sign_in"),
    ("POST", "/api/v1/users/sign_in/send_code"),
    ("POST", "/api/v1/users/sign_in/code"),
    ("POST", "/api/v1/users/refresh_token"),
    ("POST", "/api/v1/users/password/send_code"),
    ("PUT", "/api/v1/users/password"),
    ("POST", "/api/v1/users/undo"),
}
"""Whatever anyone may call. A new line here is a new door: think before adding it."""

WITHOUT_CONTRACT = {
    "/api/swagger",
    "/api/swagger.json",
    "/swaggerui/<path:filename>",
    "/health/live",
    "/health/ready",
    "/.well-known/jwks.json",
    "/account/undo",
    "/dev/inbox",  # `local` and `test` only
}


def contracts(app: Flask) -> Iterator[tuple[str, str, Any]]:
    """Every method of every route, with its contract if it has one."""
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        resource = getattr(view, "view_class", None)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            handler = getattr(resource, method.lower(), None) if resource else None
            yield method, rule.rule, getattr(handler, "contract", None)


def test_az1_every_route_declares_who_may_call_it(app: Flask) -> None:
    undeclared = {path for _, path, contract in contracts(app) if contract is None}

    assert undeclared == WITHOUT_CONTRACT


def test_az1_only_the_listed_doors_are_open(app: Flask) -> None:
    found = {(method, path) for method, path, contract in contracts(app) if contract and contract.access.is_open}

    assert found == OPEN_DOORS


def test_no_two_things_share_an_advisory_lock() -> None:
    """`Lock` is unique by itself; here, that nobody writes down a number, and SQL only the one that is its own."""
    numbers = {
        path.name: {int(number) for number in re.findall(r"\b7_?251[\d_]{12,}\b", path.read_text("utf-8"))}
        for path in [*SOURCES, *(ROOT / "migrations").rglob("*.py")]
    }

    assert {name: found for name, found in numbers.items() if found} == {
        "advisory_locks.py": set(Lock),
        "0004_events.py": {Lock.HISTORY},
    }


COMMITS = {
    "db/transaction.py": "the unit of work",
    "services/maintenance.py": "one transaction after the other, beside a lock that is held meanwhile",
}
"""Where something is committed, and what."""


def test_one_place_commits() -> None:
    commits = re.compile(r"\.commit\(|(engine|connection)\.begin\(|autocommit = True|db\.session")
    package = ROOT / "src" / "auth_service"
    found = {str(path.relative_to(package)) for path in SOURCES if commits.search(path.read_text("utf-8"))}

    assert found == COMMITS.keys()


@pytest.mark.parametrize("error", list(error_classes()), ids=lambda error: error.code)
def test_every_error_has_a_message_and_is_documented_and_tested(error: type[ServiceError]) -> None:
    assert re.fullmatch(r"[A-Z][^?]*[^?.]\.", error.message)
    assert f"`{error.code}`" in (ROOT / "docs" / "errors.md").read_text("utf-8")
    tests = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py") if path.name != "test_house.py"]
    assert any(re.search(rf"[\"']{error.code}[\"']", text) for text in tests), "no test expects it"


def test_codes_of_refusals_are_unique() -> None:
    codes = [refusal.code for refusal in error_classes()]

    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_modules_are_small_and_say_what_they_are(path: Path) -> None:
    text = path.read_text("utf-8")

    assert text.startswith('"""'), "a module begins with its entry in a table of contents"
    assert len(text.splitlines()) <= 320
    assert path.stem not in {"utils", "common", "helpers", "base_service", "misc"}


def test_in7_sql_uses_bound_parameters_only() -> None:
    formatted = re.compile(r"(?:text|execute)\(\s*f[\"']")
    for path in [*SOURCES, *(ROOT / "migrations").rglob("*.py")]:
        assert not formatted.search(path.read_text("utf-8")), path
