"""Private API of libraries: every use is in decision 18, is there as expected, and within the pinned range."""

import ast
import enum
import importlib
import inspect
import pkgutil
import re
import socket
import time
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import flask_restx.swagger
import gunicorn.arbiter
import gunicorn.glogging
import gunicorn.http
import gunicorn.util
import pytest
import sqlalchemy
import werkzeug.local
import zxcvbn.frequency_lists
from gunicorn.config import Config
from gunicorn.http import errors
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers import base, gthread
from packaging.requirements import Requirement

import auth_service
from auth_service.server.client_socket import ClientSocket

ROOT = Path(__file__).parents[1]
DECISION = ROOT / "docs" / "decisions" / "0018-private-api.md"
SOURCES = sorted(
    [*(ROOT / "src").rglob("*.py"), *(ROOT / "deploy").rglob("*.py"), *(ROOT / "migrations").rglob("*.py")]
)
ROW = re.compile(r"^\| ([\w-]+) \| ([^|]+) \| `([\w.]+)` \| [^|]+\.? \|$", re.MULTILINE)


def parameters(function: Callable[..., Any]) -> list[str]:
    """The names of its parameters, `self` left out."""
    return [name for name in inspect.signature(function).parameters if name != "self"]


def of_a_worker(name: str) -> Any:
    """An attribute of a worker before its fork."""
    worker = gthread.ThreadWorker(1, 7505, ["listener"], SimpleNamespace(), 30, Config(), None)
    worker.tmp.close()
    return getattr(worker, name)


class Counting(ClientSocket):
    """Counts what a library calls."""

    calls: dict[str, int]

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        self.calls["recv"] = self.calls.get("recv", 0) + 1
        return super().recv(size, flags)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        self.calls["sendall"] = self.calls.get("sendall", 0) + 1
        super().sendall(data, flags)


def counting() -> tuple[Counting, socket.socket]:
    """The two ends of a connection."""
    here, there = socket.socketpair()
    counted = Counting.take_over(here)
    counted.calls = {}
    return counted, there


def reads_by_recv() -> bool:
    here, there = counting()
    with here, there:
        there.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        parsed = next(gunicorn.http.get_parser(Config(), here, ("192.0.2.1", 1)))
        return (parsed.path, here.calls) == ("/", {"recv": 1}) and isinstance(SocketUnreader(here).sock, Counting)


def writes_by_sendall() -> bool:
    here, there = counting()
    with here, there:
        gunicorn.util.write(here, b"HTTP/1.1 200 OK\r\n\r\n")
        return here.calls == {"sendall": 1} and there.recv(100).startswith(b"HTTP")


def closes_at_once() -> bool:
    here, there = counting()
    with here, there:
        here.finish()
        began = time.monotonic()
        gunicorn.util.close_graceful(here)
        return here.fileno() == -1 and time.monotonic() - began < 1


def has_its_socket() -> bool:
    here, there = socket.socketpair()
    with here, there:
        return gthread.TConn(Config(), here, ("192.0.2.1", 1), ("192.0.2.2", 2)).sock is here


def lists_its_resources() -> bool:
    namespace = flask_restx.Namespace("things")
    namespace.route("/<int:thing>", doc=False)(flask_restx.Resource)
    [(resource, urls, documentation, _)] = namespace.resources
    return (resource, urls, documentation) == (flask_restx.Resource, ("/<int:thing>",), False)


EXPECTED: dict[tuple[str, str], Callable[[], bool]] = {
    ("gunicorn", "workers.gthread.ThreadWorker.get_thread_pool"): lambda: (
        parameters(gthread.ThreadWorker.get_thread_pool) == []
    ),
    ("gunicorn", "workers.gthread.ThreadWorker.set_accept_enabled"): lambda: (
        parameters(gthread.ThreadWorker.set_accept_enabled) == ["enabled"]
    ),
    ("gunicorn", "workers.gthread.ThreadWorker.accept"): lambda: (
        parameters(gthread.ThreadWorker.accept) == ["listener"]
    ),
    ("gunicorn", "workers.gthread.ThreadWorker.nr_conns"): lambda: of_a_worker("nr_conns") == 0,
    ("gunicorn", "workers.gthread.ThreadWorker.handle"): lambda: parameters(gthread.ThreadWorker.handle) == ["conn"],
    ("gunicorn", "workers.gthread.TConn.sock"): has_its_socket,
    ("gunicorn", "workers.base.Worker.handle_error"): lambda: (
        parameters(base.Worker.handle_error) == ["req", "client", "addr", "exc"]
    ),
    ("gunicorn", "workers.base.Worker.sockets"): lambda: of_a_worker("sockets") == ["listener"],
    ("gunicorn", "workers.base.Worker.alive"): lambda: of_a_worker("alive") is True,
    ("gunicorn", "workers.base.Worker.ppid"): lambda: of_a_worker("ppid") == 7505,
    ("gunicorn", "workers.base.Worker.wsgi"): lambda: "self.wsgi" in inspect.getsource(base.Worker.load_wsgi),
    ("gunicorn", "http.unreader.SocketUnreader.chunk"): reads_by_recv,
    ("gunicorn", "util.write"): writes_by_sendall,
    ("gunicorn", "util.close_graceful"): closes_at_once,
    ("gunicorn", "http.errors.ParseException"): lambda: issubclass(errors.ParseException, Exception),
    ("gunicorn", "http.errors.LimitRequestLine"): lambda: issubclass(errors.LimitRequestLine, errors.ParseException),
    ("gunicorn", "http.errors.LimitRequestHeaders"): lambda: (
        issubclass(errors.LimitRequestHeaders, errors.ParseException)
    ),
    ("gunicorn", "glogging.Logger.setup"): lambda: parameters(gunicorn.glogging.Logger.setup) == ["cfg"],
    ("gunicorn", "arbiter.Arbiter.handle_term"): lambda: parameters(gunicorn.arbiter.Arbiter.handle_term) == [],
    ("flask-restx", "Api._register_doc"): lambda: parameters(flask_restx.Api._register_doc) == ["app_or_blueprint"],
    ("flask-restx", "Api.error_router"): lambda: parameters(flask_restx.Api.error_router) == ["original_handler", "e"],
    ("flask-restx", "Api._register_apidoc"): lambda: parameters(flask_restx.Api._register_apidoc) == ["app"],
    ("flask-restx", "Namespace.resources"): lists_its_resources,
    ("zxcvbn", "frequency_lists.FREQUENCY_LISTS"): lambda: (
        "password" in zxcvbn.frequency_lists.FREQUENCY_LISTS["passwords"]
    ),
}  # fmt: skip

PATCHED: set[str] = set()
"""Objects of libraries that are changed from outside."""

DOCUMENTED = {
    "_mapping": sqlalchemy.Row,
    "_fields": sqlalchemy.Row,
    "_get_current_object": werkzeug.local.LocalProxy,
    "_value_": enum.Enum,
}
"""Names that begin with an underscore and are documented."""


@pytest.mark.parametrize(("library", "name"), EXPECTED, ids=str)
def test_private_api_is_as_expected(library: str, name: str) -> None:
    assert EXPECTED[library, name]()


def test_the_decision_lists_what_is_tested_and_pinned() -> None:
    rows = ROW.findall(DECISION.read_text("utf-8"))
    with (ROOT / "pyproject.toml").open("rb") as file:
        pinned = [Requirement(each) for each in tomllib.load(file)["project"]["dependencies"]]
    ranges = {each.name: each.specifier for each in pinned}

    assert {(library, name) for library, _, name in rows} == EXPECTED.keys()
    for library, allowed, _ in rows:
        assert ranges[library] == Requirement(f"{library}{allowed}").specifier
        assert any(each.operator in ("<", "==") for each in ranges[library]), "no upper bound"
        assert version(library) in ranges[library]


def test_documented_names_exist() -> None:
    for name, owner in DOCUMENTED.items():
        assert hasattr(owner, name) or name in inspect.getsource(owner), name


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name != "_"


def listed(name: str) -> bool:
    return any(full.rpartition(".")[2] == name for _, full in EXPECTED)


def private_uses(tree: ast.AST) -> Iterator[str]:
    """Private names of something else than the object itself, and imported ones."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                continue
            case ast.Attribute(attr=name) if is_private(name):
                yield name
            case ast.ImportFrom(module=module, names=names):
                yield from filter(is_private, [*(module or "").split("."), *(each.name for each in names)])
            case ast.Import(names=names):
                yield from filter(is_private, [part for each in names for part in each.name.split(".")])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_private_name_is_used_outside_the_table(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))

    assert [name for name in private_uses(tree) if name not in DOCUMENTED and not listed(name)] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_library_is_patched_outside_the_table(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    imported = {
        (each.asname or each.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for each in node.names
    }
    patched = set()
    for node in ast.walk(tree):
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            root = target
            while isinstance(root, (ast.Attribute, ast.Subscript)):
                root = root.value
            if root is not target and isinstance(root, ast.Name) and root.id in imported - {"os", "g"}:
                patched.add(root.id)

    assert patched <= PATCHED


def own_classes() -> Iterator[type]:
    """Every class of the service."""
    for found in pkgutil.walk_packages(auth_service.__path__, "auth_service."):
        module: ModuleType = importlib.import_module(found.name)
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == module.__name__:
                yield value


def is_ours(owner: type) -> bool:
    return owner.__module__.partition(".")[0] == "auth_service"


@cache
def classes_of(module: str) -> dict[str, ast.ClassDef]:
    """The classes of a module by name; `inspect.getsource` would parse the module again for each of them."""
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


@cache
def names_of(owner: type) -> tuple[set[str], set[str]]:
    """What a class defines, and what it uses of itself, by its source."""
    tree = classes_of(owner.__module__)[owner.__qualname__]
    defined, used = set(), set()
    for node in ast.walk(tree):
        match node:
            case (
                ast.FunctionDef(name=name)
                | ast.AnnAssign(target=ast.Name(id=name))
                | ast.Name(id=name, ctx=ast.Store())
            ):
                defined.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                defined.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name):
                used.add(name)
    return defined, used


def test_no_private_name_of_a_base_class_is_used_outside_the_table() -> None:
    foreign = set()
    for owner in own_classes():
        ours, theirs = partition(is_ours, owner.__mro__)
        defined, used = (set[str]().union(*names) for names in zip(*map(names_of, ours), strict=True))
        overridden = {name for name in defined if any(name in vars(each) for each in theirs)}
        foreign |= {f"{owner.__qualname__}.{name}" for name in (used - defined) | overridden if is_private(name)}

    assert {name for name in foreign if not listed(name.rpartition(".")[2])} == set()


def partition(condition: Callable[[type], bool], classes: tuple[type, ...]) -> tuple[list[type], list[type]]:
    """Those that fulfil a condition, and the others."""
    return [each for each in classes if condition(each)], [each for each in classes if not condition(each)]


def test_every_method_of_a_listed_library_that_is_overridden_is_in_the_table() -> None:
    libraries = {"gunicorn", "flask_restx", "redis", "sqlalchemy", "werkzeug", "psycopg2"}
    undocumented = {"gunicorn", "flask_restx"}
    overridden = set()
    bases = set()
    for owner in own_classes():
        for each in owner.__mro__:
            library = each.__module__.partition(".")[0]
            if library in libraries:
                bases.add(library)
            if library in undocumented and each is not owner:
                overridden |= {name for name in vars(owner) if name in vars(each) and not name.startswith("__")}

    assert {"gunicorn", "flask_restx"} <= bases
    assert {name for name in overridden if not listed(name)} == set()
