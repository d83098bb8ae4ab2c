"""`manage.py docs`: the tables of the documents that are made from the code."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from auth_service import errors
from auth_service.api.http.responses import status_of
from auth_service.errors import ServiceError
from auth_service.models.audit_event import Kind
from auth_service.settings import Settings

DOCS = Path(__file__).parents[3] / "docs"


@click.command()
@click.option("--check", is_flag=True, help="Only say which documents are out of step, and fail if any is.")
def docs(*, check: bool) -> None:
    """Write the tables of settings, refusals and events into the documents."""
    stale = [
        path for path in DOCS.glob("*.md") if brought_up_to_date(path.read_text("utf-8")) != path.read_text("utf-8")
    ]
    for path in stale:
        print(f"docs/{path.name}: {'out of step' if check else 'written'}")
        if not check:
            path.write_text(brought_up_to_date(path.read_text("utf-8")), "utf-8")
    if check and stale:
        raise SystemExit(1)


def brought_up_to_date(document: str) -> str:
    """The document with every generated table made anew; the markers around them stay."""

    def made(found: re.Match[str]) -> str:
        return f"<!-- {found[1]} -->\n{TABLES[found[1]]()}\n<!-- /{found[1]} -->"

    return re.sub(rf"<!-- ({'|'.join(TABLES)}) -->\n.*?<!-- /\1 -->", made, document, flags=re.DOTALL)


def settings_table() -> str:
    """Every setting, with what it is when it is not named."""
    rows = [
        f"| `{name.upper()}` | {_shown(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| name | unless named | what it is |", "| --- | --- | --- |", *rows])


def refusals_table() -> str:
    """Every refusal, with its status."""
    rows = [f"| {status_of(kind)} | `{kind.code}` | {kind.message} |" for kind in error_classes()]
    return "\n".join(["| status | `error.code` | `error.msg` |", "| --- | --- | --- |", *sorted(rows)])


def events_table() -> str:
    """Every kind of event."""
    rows = [f"| `{kind}` | {kind.sentence} |" for kind in Kind]
    return "\n".join(["| `kind` | what it means |", "| --- | --- |", *rows])


def error_classes() -> Iterator[type[ServiceError]]:
    """Every error that a request can be answered with; families are none, they only lend a status."""
    for found in vars(errors).values():
        if isinstance(found, type) and issubclass(found, ServiceError) and hasattr(found, "code"):
            yield found


def _shown(default: Any) -> str:
    if default is None or default == ():
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, timedelta):
        return f"`{default // timedelta(seconds=1)}`"
    return f"`{default}`"


TABLES: dict[str, Callable[[], str]] = {
    "settings": settings_table,
    "refusals": refusals_table,
    "events": events_table,
}
