"""Structured logging: JSON lines on standard error, with the request id and without secrets."""

import contextvars
import logging
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from pythonjsonlogger.json import JsonFormatter

request_id: contextvars.ContextVar[str | None] = contextvars.ContextVar("request_id", default=None)
"""The id of the request that this thread handles; None outside of requests."""


class _WithRequestId(logging.Filter):
    """Adds the request id to every record, so that one search finds all lines of a request."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        return True


class _Formatter(JsonFormatter):
    """Logs the traceback and the class of an exception, but not its message, which may contain personal data.

    PostgreSQL, for example, repeats the whole row that violates a constraint.
    """

    def formatException(self, ei: Any) -> str:  # noqa: N802 - overrides a method of logging
        lines: list[str] = []
        for error in reversed(list(_causes(ei[1]))):
            lines += [*traceback.format_tb(error.__traceback__), f"{type(error).__qualname__}\n"]
        return "".join(lines)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the exception and its chain of causes, newest first, in the way Python's own traceback follows it."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def configure(*, level: str) -> None:
    """Write log records of `level` and above to standard error as JSON lines."""
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
    # At INFO, Alembic and SQLAlchemy log what the commands already print.
    for verbose in ("alembic", "sqlalchemy", "urllib3"):
        logging.getLogger(verbose).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
