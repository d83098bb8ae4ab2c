"""Security notifications: emails to a user about security events of the account."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select

from auth_service import clock
from auth_service.db import Statement, transaction
from auth_service.models import User
from auth_service.services.audit.events import ClientInfo
from auth_service.services.email.addresses import Address
from auth_service.services.email.outbox import Outbox
from auth_service.services.email.statements import NewMessage
from auth_service.services.users.statements import ById, UserRecord

TTL = timedelta(days=3)
"""How long delivery of a notification is attempted."""


class _EmailAndLanguage(NamedTuple):
    email: str
    email_key: str
    language: str


_EMAIL_AND_LANGUAGE = Statement(
    select(User.email, User.email_key, User.language).where(User.id == bindparam("user_id")),
    parameters=ById,
    row=_EmailAndLanguage,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SecurityNotifications:
    """Writes notifications into the outbox, in the transaction of the event."""

    outbox: Outbox

    def send(
        self, kind: str, *, user_id: int, client: ClientInfo, to: Address | None = None, about: str = "", **values: Any
    ) -> None:
        """Send a notification to the address of the account, or to another address (`to`); a deleted user gets none.

        One email is sent for each `kind` and `about`: a stolen token that is replayed many times causes one email.
        """
        owner = transaction().fetch_one(_EMAIL_AND_LANGUAGE({"user_id": user_id}))
        if owner is None:
            return
        to = to or Address(stored=owner.email, key=owner.email_key)
        message = self.message(
            kind, user_id=user_id, to=to, language=owner.language, client=client, about=about, **values
        )
        self.outbox.put(message)

    def message(
        self, kind: str, *, user_id: int, to: Address, language: str, client: ClientInfo, about: str = "", **values: Any
    ) -> NewMessage:
        """Return the notification as outbox parameters, for a statement that writes other rows with it."""
        return self.outbox.message(
            kind=kind,
            dedup_key=f"{kind}:{user_id}:{about or uuid.uuid4()}",
            to=to,
            user_id=user_id,
            language=language,
            values={"device": client.device, "address": client.address or "-", "at": _now(), **values},
            ttl=TTL,
        )

    def notify_deletion(self, user: UserRecord, *, former: Sequence[Address]) -> None:
        """Send the notification about a deleted account, to its address and to its former addresses."""
        for to in {address.key: address for address in (*former, user.address)}.values():
            message = self.outbox.message(
                kind="account_deleted",
                to=to,
                user_id=None,
                language=user.language,
                values={"at": _now()},
                ttl=TTL,
            )
            self.outbox.put(message)


def _now() -> str:
    return f"{clock.now():%Y-%m-%d %H:%M} UTC"
