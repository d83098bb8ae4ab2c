"""Vocabulary: words of the glossary's "do not use" column stay out of identifiers, module names and prose."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.documents import ROOT

NOT_IN_IDENTIFIERS = (
    "take_back",
    "written_at_once",
    "read_at_once",
    "more_follows",
    "besides",
    "stepping_aside",
    "step_aside",
    "lanes",
    "endings",
    "proofs",
    "notices",
    "undos",
    "wired",
    "postman",
    "newcomer",
    "keeps_work",
    "let_in",
    "write_down_denial",
    "prove_same_origin",
    "make_sure_of_room",
    "brought",
    "noted",
    "upkeep",
    "punctual",
    "phc",
)
"""Also as a part of an identifier: `Postman`, `make_postman`, `POSTMAN`."""

NOT_AN_IDENTIFIER = {"_said", "Guard", "Kept", "Done"}
"""As the whole identifier only: `PoolGuard` is a term of the glossary."""

NOT_IN_PROSE = ("whoever", "somebody")

PERSISTENT: set[str] = set()
"""Identifiers that name a table, setting, metric, error code or kind of email, which keep their names."""

EXEMPT = re.compile(r"docs/decisions/00(0\d|1[0-5])-.*|docs/CHANGELOG\.md|tests/test_vocabulary\.py")
"""Decisions and the changelog are records of their time. This test has to name the words."""

_TEXT = {".py", ".md", ".txt", ".html", ".js", ".css", ".lua", ".toml", ".json", ".sql", ".sh", ".conf"}
_IN_IDENTIFIERS = re.compile(rf"(?:^|_)(?:{'|'.join(NOT_IN_IDENTIFIERS)})(?:_|$)")
_IN_PROSE = re.compile(rf"(?<![a-z])(?:{'|'.join(NOT_IN_PROSE)})(?![a-z])", re.IGNORECASE)


@cache
def is_banned(identifier: str) -> bool:
    """Whether an identifier has a word of the list; `PascalCase` is read as `pascal_case`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", identifier).lower()
    return identifier not in PERSISTENT and (
        identifier in NOT_AN_IDENTIFIER or _IN_IDENTIFIERS.search(words) is not None
    )


def identifiers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every name that a module defines or uses, with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.Name():
                yield node.lineno, node.id
            case ast.Attribute():
                yield node.lineno, node.attr
            case ast.arg():
                yield node.lineno, node.arg
            case ast.keyword(arg=str(name)):
                yield node.lineno, name
            case ast.alias():
                yield from ((node.lineno, part) for part in f"{node.name}.{node.asname or ''}".split(".") if part)
            case _:
                pass


def files(*folders: str) -> Iterator[tuple[str, Path]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if path.is_file() and path.suffix in _TEXT and not EXEMPT.fullmatch(name):
                yield name, path


@pytest.mark.parametrize("folder", ["src", "tests"])
def test_identifiers_use_the_terms_of_the_glossary(folder: str) -> None:
    banned = sorted(
        f"{name}:{line}: {identifier}"
        for name, path in files(folder)
        if path.suffix == ".py"
        for line, identifier in set(identifiers(ast.parse(path.read_text("utf-8"))))
        if is_banned(identifier)
    )

    assert banned == []


@pytest.mark.parametrize("folder", ["src", "tests"])
def test_modules_are_named_by_the_terms_of_the_glossary(folder: str) -> None:
    assert [name for name, path in files(folder) if any(map(is_banned, [path.stem, path.parent.name]))] == []


@pytest.mark.parametrize("folder", ["src", "tests", "docs"])
def test_prose_names_users_and_clients(folder: str) -> None:
    """A sentence says which user, client, worker or attacker acts."""
    sentences = [
        f"{name}:{number}: {line.strip()}"
        for name, path in files(folder)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if _IN_PROSE.search(line)
    ]

    assert sentences == []


@pytest.mark.parametrize("identifier", ["take_back", "make_postman", "PunctualConnection", "NOTED", "_said", "Guard"])
def test_words_are_found_in_every_style_of_identifier(identifier: str) -> None:
    assert is_banned(identifier)


@pytest.mark.parametrize("identifier", ["PoolGuard", "add_done_callback", "connoted", "is_kept"])
def test_words_that_contain_a_banned_word_are_allowed(identifier: str) -> None:
    assert not is_banned(identifier)
