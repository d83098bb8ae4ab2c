"""Advisory locks of PostgreSQL: the one list of numbers, so that no two things share one by accident."""

from enum import IntEnum, unique


@unique
class Lock(IntEnum):
    """What is done by one at a time. The numbers are arbitrary; only that nobody else has them counts.

    A number that a release has used stays what it is: two releases side by side have to exclude each other. The locks
    of addresses (`services/email/outbox.py`) are hashes over all 64 bits and meet one of these as rarely as each other.
    """

    MIGRATIONS = 7_251_903_360_117_229
    """Of a session: migrators take turns."""
    SIGNING_KEYS = 7_251_903_360_117_230
    """Signing keys are made, rotated and replaced."""
    HISTORY = 7_251_903_360_117_231
    """Months of the history are made, and people in it forgotten; taken by functions of migration 0004."""
    MAINTENANCE = 7_251_903_360_117_232
    """A run of the maintenance."""
    SERVICE_KEYS = 7_251_903_360_117_233
    """Service keys are counted and made."""
