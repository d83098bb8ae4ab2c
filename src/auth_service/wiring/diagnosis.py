"""Diagnosis of dependencies: the setting and the reason in words for an error of PostgreSQL or Redis."""

from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError

from auth_service.adapters.postgres import diagnosis as postgres
from auth_service.adapters.redis import diagnosis as redis
from auth_service.errors import RedisUnavailable, Unavailable
from auth_service.settings import Settings


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem with a dependency, as a line for operators."""

    text: str
    permanent: bool
    """Whether waiting cannot solve the problem."""


def explain(settings: Settings, error: BaseException) -> Problem | None:
    """Explain an error of the service or of a driver; None if it is not about PostgreSQL or Redis."""
    cause = error.__cause__ if isinstance(error, Unavailable) else error
    if isinstance(error, RedisUnavailable):
        redis_problem = redis.diagnose(cause, url=str(settings.redis_url))
        return Problem(f"REDIS_URL: {redis_problem.text}", redis_problem.permanent)
    if isinstance(cause, DBAPIError):
        cause = cause.orig
    if not postgres.is_diagnosable(cause):
        return None
    problem = postgres.diagnose(cause, url=str(settings.database_url))
    return Problem(f"DATABASE_URL: {problem.text}", problem.permanent)


def unavailable(settings: Settings, error: Unavailable) -> str:
    """The reason in words for an operator, or the error code if it is not about PostgreSQL or Redis."""
    problem = explain(settings, error)
    return problem.text if problem else error.code
