"""JSON lines on standard error, each with the id of its request, none with a secret."""

import contextvars
import logging
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from pythonjsonlogger.json import JsonFormatter

request_id: contextvars.ContextVar[str | None] = contextvars.ContextVar("request_id", default=None)
"""The id of the request that is being answered here, if any."""


class _WithRequestId(logging.Filter):
    """Adds the request id to every record, so that one search finds all lines of a request."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        return True


class _Formatter(JsonFormatter):
    """Writes of an exception where it happened and of what kind it was; what it says may hold what somebody typed.

    PostgreSQL, for one, repeats the whole row that a constraint did not take.
    """

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name that logging calls
        lines: list[str] = []
        for link in reversed(list(_chain(ei[1]))):
            lines += [*traceback.format_tb(link.__traceback__), f"{type(link).__qualname__}\n"]
        return "".join(lines)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def configure(*, level: str) -> None:
    """Send everything that is logged, at `level` and above, to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_WithRequestId())
    handler.setFormatter(
        _Formatter(
            ["asctime", "levelname", "name", "message", "request_id"],
            rename_fields={"asctime": "at", "levelname": "level", "name": "logger"},
            datefmt="%Y-%m-%dT%H:%M:%S%z",
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Alembic and SQLAlchemy narrate at INFO what their own commands print already.
    for chatty in ("alembic", "sqlalchemy", "urllib3"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
