"""Notices: letters that tell the owner of an account what happened to it."""

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

LIVES = timedelta(days=3)
"""A notice is still worth reading after this, but not worth trying to send."""


class _Mailbox(NamedTuple):
    email: str
    email_key: str
    language: str


_MAILBOX = Statement(
    select(User.email, User.email_key, User.language).where(User.id == bindparam("user_id")),
    parameters=ById,
    row=_Mailbox,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SecurityNotifications:
    """Writes notices into the outbox, in the transaction of what they tell of."""

    outbox: Outbox

    def tell(
        self, kind: str, *, user_id: int, client: ClientInfo, to: Address | None = None, about: str = "", **values: Any
    ) -> None:
        """Tell a user, at the address of the account or at another one (`to`).

        The same `about` is told once: a token that is stolen and tried a hundred times is one letter.
        """
        owner = transaction().fetch_one(_MAILBOX({"user_id": user_id}))
        if owner is None:
            return
        to = to or Address(stored=owner.email, key=owner.email_key)
        letter = self.letter(
            kind, user_id=user_id, to=to, language=owner.language, client=client, about=about, **values
        )
        self.outbox.put(letter)

    def letter(
        self, kind: str, *, user_id: int, to: Address, language: str, client: ClientInfo, about: str = "", **values: Any
    ) -> NewMessage:
        """A notice as the outbox takes it, for a statement that does more than to write it."""
        return self.outbox.message(
            kind=kind,
            dedup_key=f"{kind}:{user_id}:{about or uuid.uuid4()}",
            to=to,
            user_id=user_id,
            language=language,
            values={"device": client.device, "address": client.address, "at": _now(), **values},
            ttl=LIVES,
        )

    def notify_deletion(self, user: UserRecord, *, former: Sequence[Address]) -> None:
        """Tell somebody whose account is gone by now, at its address and at those that it had until lately."""
        for to in {address.key: address for address in (*former, user.address)}.values():
            letter = self.outbox.message(
                kind="account_deleted",
                to=to,
                user_id=None,
                language=user.language,
                values={"at": _now()},
                ttl=LIVES,
            )
            self.outbox.put(letter)


def _now() -> str:
    return f"{clock.now():%Y-%m-%d %H:%M} UTC"
