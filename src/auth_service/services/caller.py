"""Caller of an administrative operation: the actor of its audit events, with the permissions that bound it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from auth_service.errors import BeyondYourOwn


class CallerType(StrEnum):
    """The kinds of actors."""

    USER = "user"
    SERVICE = "service"
    SYSTEM = "system"


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """A user, a service or a command, with its permissions."""

    type: CallerType
    id: str
    """The id of the user or of the service key; the name of a command."""
    permissions: frozenset[str]
    is_administrator: bool = False
    """Whether the caller has every permission, also those that no role has yet."""

    @property
    def subject(self) -> str:
        """The name under which rate limits, cursors and idempotency keys know the caller: `user:ID`, `service:KEY`."""
        return f"{self.type}:{self.id}"

    def has_all(self, permissions: Iterable[str]) -> bool:
        """Whether the caller has all these permissions."""
        return self.is_administrator or self.permissions.issuperset(permissions)

    def require_all(self, permissions: Iterable[str]) -> None:
        """Raise BeyondYourOwn unless the caller has all these permissions (privilege escalation, ASVS 8.2.1)."""
        if not self.has_all(permissions):
            raise BeyondYourOwn


SYSTEM = Caller(type=CallerType.SYSTEM, id="auth-service", permissions=frozenset(), is_administrator=True)
"""The service itself, and the commands of its operators."""
