"""Engines for a command: those that the settings name, or embedded ones."""

from collections.abc import Iterator
from contextlib import contextmanager

from auth_service.settings import Settings


@contextmanager
def with_engines(settings: Settings) -> Iterator[Settings]:
    """Complete settings, with embedded engines running where a developer's machine names none."""
    if settings.production or settings.names_engines:
        yield settings.completed()
        return
    # Only here: the wheels of the engines are not installed where production runs.
    from auth_service.embedded import engines  # noqa: PLC0415

    with engines.running(data_dir=settings.data_dir.resolve()) as started:
        yield settings.completed(database_url=started.database_url, redis_url=started.redis_url)
