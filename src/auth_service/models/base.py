"""The declarative base, the names of constraints, and the one database handle."""

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Protocol

from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session
from sqlalchemy import Connection, Engine, MetaData
from sqlalchemy.orm import DeclarativeBase

from auth_service.models.prepared import Row, Step

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Every constraint has a name that migrations and error handling can rely on."""


class Base(DeclarativeBase):
    """What every table shares."""

    metadata = MetaData(naming_convention=NAMES)


class Work(Protocol):
    """A unit of work, as sessions see it."""

    def connection(self) -> Connection:
        """The one connection that it writes through, opened now if it is not yet."""
        ...

    def at_once(self, steps: Sequence[Step]) -> list[Row]:
        """See `written_at_once`."""
        ...


work_here: ContextVar[Work] = ContextVar("work_here")
"""The unit of work that runs here."""


class _Session(Session):
    """A session that joins the unit of work it is used in, so that what both write is one transaction."""

    def get_bind(self, *arguments: Any, **named: Any) -> Engine | Connection:
        work = work_here.get(None)
        return work.connection() if work else super().get_bind(*arguments, **named)


db = SQLAlchemy(
    model_class=Base, disable_autonaming=True, session_options={"class_": _Session, "expire_on_commit": False}
)
