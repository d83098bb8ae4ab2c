"""Database access: the transaction of a unit of work, prepared statements, advisory locks, schema version."""

from auth_service.db.base import Base, db
from auth_service.db.prepared import NoParameters, Statement, Write
from auth_service.db.transaction import (
    Transaction,
    UniqueViolation,
    accepts_writes,
    autocommit,
    fetch_all,
    fetch_one,
    transaction,
    unit_of_work,
)

__all__ = [
    "Base",
    "NoParameters",
    "Statement",
    "Transaction",
    "UniqueViolation",
    "Write",
    "accepts_writes",
    "autocommit",
    "db",
    "fetch_all",
    "fetch_one",
    "transaction",
    "unit_of_work",
]
