"""Roles that tests of the unit of work write: a table without foreign keys and without users."""

from typing import TypedDict

from sqlalchemy import bindparam, delete, insert, select

from auth_service.db import Statement, Write, autocommit
from auth_service.models import Role

NAME, OTHER = "ROLE_OF_A_TEST", "ROLE_OF_ANOTHER"


class Named(TypedDict):
    """The one parameter."""

    name: str


FIND = Statement(select(Role.name).where(Role.name == bindparam("name")), parameters=Named, row=str)
ADD = Statement(insert(Role).values(name=bindparam("name")).returning(Role.name), parameters=Named, row=str)
DROP = Write(delete(Role).where(Role.name == bindparam("name")), parameters=Named)


def roles() -> set[str]:
    """All roles, as committed."""
    with autocommit() as connection:
        return set(connection.execute(select(Role.name)).scalars())
