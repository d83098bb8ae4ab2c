"""Advisory locks of PostgreSQL: the list of their numbers, so that no two uses share one by accident."""

from enum import IntEnum, unique

from sqlalchemy import BigInteger, func, literal, select

from auth_service.db.prepared import NoParameters, Write


@unique
class Lock(IntEnum):
    """The advisory locks. Their numbers are arbitrary but unique.

    A number never changes once it is released: during a rolling update two releases have to exclude each other. The
    locks on email addresses (`services/email/statements.py`) are 64-bit hashes, so a collision with these is unlikely.
    """

    MIGRATIONS = 7_251_903_360_117_229
    """Migrations (a lock of the database session)."""
    SIGNING_KEYS = 7_251_903_360_117_230
    """Creation, rotation and replacement of signing keys."""
    HISTORY = 7_251_903_360_117_231
    """Partitions of the audit log and the anonymisation of users in it; taken by the functions of migration 0004."""
    MAINTENANCE = 7_251_903_360_117_232
    """Maintenance runs."""
    SERVICE_KEYS = 7_251_903_360_117_233
    """Creation of service keys, whose number is limited."""
    ADMINISTRATORS = 7_251_903_360_117_234
    """Everything that can reduce the number of administrators; taken before any row lock."""
    ROLES = 7_251_903_360_117_235
    """Creation, change and deletion of roles: their number is limited."""


def transaction_lock(lock: Lock) -> Write[NoParameters]:
    """Build the statement that takes a lock until the transaction ends."""
    return Write(select(func.pg_advisory_xact_lock(literal(lock.value, type_=BigInteger))), parameters=NoParameters)
