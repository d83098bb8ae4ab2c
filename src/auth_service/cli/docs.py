"""`manage.py docs`: generates the tables and the quoted code of the documents, and the OpenAPI document."""

import ast
import json
import re
import textwrap
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click

from auth_service.api import v1
from auth_service.api.contract.openapi import Deployment
from auth_service.api.http.responses import status_of
from auth_service.errors import error_classes
from auth_service.errors.fields import FieldReason
from auth_service.models.audit_event import EventType
from auth_service.settings import Settings

ROOT = Path(__file__).parents[3]

OPENAPI = "openapi.json"

QUOTE = re.compile(r"<!-- code: (?P<path>\S+) (?P<name>\S+) -->\n```python\n.*?^```$", re.MULTILINE | re.DOTALL)
"""Quoted code: the marker names a file of this repository and a class, function or constant in it."""


class QuoteError(Exception):
    """A document quotes code that does not exist; the text says which."""


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; list outdated documents and fail if there are any.")
@click.option("--folder", type=click.Path(path_type=Path), default=ROOT / "docs", help="Folder of the documents.")
def docs(*, check: bool, folder: Path) -> None:
    """Write the generated parts of the documents: tables of settings, errors and events, quoted code, OpenAPI."""
    stale = False
    for path in [*sorted(folder.glob("*.md")), folder / OPENAPI]:
        text = path.read_text("utf-8") if path.exists() else ""
        try:
            generated = openapi_document() if path.name == OPENAPI else regenerate(text)
        except QuoteError as error:
            raise click.ClickException(f"docs/{path.name}: {error}") from None
        if generated == text:
            continue
        stale = True
        print(f"docs/{path.name}: {'out of date' if check else 'written'}")
        if not check:
            path.write_text(generated, "utf-8")
    if check and stale:
        raise SystemExit(1)


def openapi_document() -> str:
    """The OpenAPI document of a deployment with the default settings, in production."""
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    deployment = Deployment(
        service_name=defaults["service_name"], shortest_password=defaults["password_min_length"], production=True
    )
    return json.dumps(v1.openapi_document(deployment), indent=1, ensure_ascii=False) + "\n"


def regenerate(document: str, *, root: Path = ROOT) -> str:
    """Return a document with all generated tables and quoted code replaced by current ones; the markers stay.

    Raises QuoteError.
    """

    def table(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{TABLES[match[1]]()}\n<!-- /{match[1]} -->"

    document = re.sub(rf"<!-- ({'|'.join(TABLES)}) -->\n.*?<!-- /\1 -->", table, document, flags=re.DOTALL)
    return QUOTE.sub(partial(_quotation, root=root), document)


def _quotation(match: re.Match[str], *, root: Path) -> str:
    path, name = match["path"], match["name"]
    return f"<!-- code: {path} {name} -->\n```python\n{source_of(root / path, name)}\n```"


def source_of(file: Path, name: str) -> str:
    """The source of a class, function or constant, decorators included; `name` is dotted. Raises QuoteError."""
    if not file.is_file():
        raise QuoteError(f"quotes {file.name}, which does not exist at this path")
    source = file.read_text("utf-8")
    statement = _find(ast.parse(source).body, name.split("."))
    if statement is None:
        raise QuoteError(f"quotes {name}, which {file.name} does not define")
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(decorator.lineno for decorator in decorators)])
    return textwrap.dedent("\n".join(source.splitlines()[first - 1 : statement.end_lineno]))


def _find(body: list[ast.stmt], path: list[str]) -> ast.stmt | None:
    for statement in body:
        if path[0] in _defined_names(statement):
            return _find(getattr(statement, "body", []), path[1:]) if path[1:] else statement
    return None


def _defined_names(statement: ast.stmt) -> set[str]:
    if isinstance(statement, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return {statement.name}
    if isinstance(statement, ast.Assign):
        targets: list[ast.expr] = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    else:
        return set()
    return {target.id for target in targets if isinstance(target, ast.Name)}


def settings_table() -> str:
    """Table of all settings with default and meaning."""
    rows = [
        f"| `{name.upper()}` | {_format_default(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| setting | default | meaning |", "| --- | --- | --- |", *rows])


def errors_table() -> str:
    """Table of all error codes with status and message."""
    rows = [f"| {status_of(kind)} | `{kind.code}` | {kind.message} |" for kind in error_classes()]
    return "\n".join(["| status | `error.code` | `error.msg` |", "| --- | --- | --- |", *sorted(rows)])


def field_reasons_table() -> str:
    """Table of all reasons of field errors."""
    rows = [f"| `{reason}` | {reason.description} |" for reason in FieldReason]
    return "\n".join(["| `reason` | meaning |", "| --- | --- |", *rows])


def events_table() -> str:
    """Table of all audit events that a user can see."""
    rows = [f"| `{kind}` | {kind.description} |" for kind in EventType]
    return "\n".join(["| `kind` | meaning |", "| --- | --- |", *rows])


def _format_default(default: Any) -> str:
    if default is None or default in ((), frozenset()):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, timedelta):
        return f"`{default // timedelta(seconds=1)}`"
    return f"`{default}`"


TABLES: dict[str, Callable[[], str]] = {
    "settings": settings_table,
    "errors": errors_table,
    "field reasons": field_reasons_table,
    "events": events_table,
}
