"""Engines (PostgreSQL and Redis) of a command: the configured ones, or embedded ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from auth_service.settings import Settings


@contextmanager
def with_engines(settings: Settings, **options: Any) -> Iterator[Settings]:
    """Complete the settings; in `local` and `test`, run embedded engines (with `options`) if none are configured."""
    if settings.production or settings.names_engines:
        yield settings.completed()
        return
    # Imported here, because the wheels of the engines are not installed in production.
    from auth_service.embedded import engines  # noqa: PLC0415

    with engines.running(data_dir=settings.data_dir.resolve(), **options) as running:
        yield settings.completed(database_url=running.database_url, redis_url=running.redis_url)
