"""Pagination: pages of a list, and sealed cursors that mark where the next page begins."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from auth_service.adapters.crypto.keys import SealBroken, Sealer, base64url, from_base64url
from auth_service.errors import ValidationFailed
from auth_service.errors.fields import FieldError, FieldReason

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Page(Generic[T]):
    """One page of a list, in order; `next_cursor` requests the next page and is None on the last one."""

    items: Sequence[T]
    next_cursor: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cursors:
    """Creates and opens cursors: sealed positions in a list.

    A cursor reveals nothing to its client, and is valid for one list of one user only: a client cannot page through the
    data of another user by replaying or forging a cursor.
    """

    sealer: Sealer

    def position(self, cursor: str, *, of: str, owner: str | int) -> Any:
        """Return the position in a cursor of the list `of` of `owner`, a user or a caller: the page begins after it.

        Raises ValidationFailed for a cursor that is malformed or belongs to another list or owner.
        """
        try:
            return self.sealer.open(from_base64url(cursor), place=_place(of, owner))["after"]
        except (ValueError, SealBroken):
            message = "Send a `next_cursor` of this list, or no cursor."
            raise ValidationFailed(FieldError(field="cursor", reason=FieldReason.CURSOR_INVALID, msg=message)) from None

    def page(
        self, items: Sequence[T], *, limit: int, of: str, owner: str | int, position: Callable[[T], Any]
    ) -> Page[T]:
        """Return the first `limit` of the items, with a cursor if there are more.

        The caller reads `limit` + 1 items: the extra item shows that another page follows. `position` returns the
        position of an item as a JSON value.
        """
        if len(items) <= limit:
            return Page(items=items)
        sealed = self.sealer.seal({"after": position(items[limit - 1])}, place=_place(of, owner))
        return Page(items=items[:limit], next_cursor=base64url(sealed))


def filtered(name: str, **filters: str | int | None) -> str:
    """Return the name of a list with filters, for `of`: a cursor is then valid with the same filters only.

    Otherwise a client could continue a list with other filters at a position that means nothing there.
    """
    return f"{name} {json.dumps(filters, sort_keys=True)}"


def _place(of: str, owner: str | int) -> bytes:
    return f"{of} of {owner}".encode()
