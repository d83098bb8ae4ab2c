"""Pages: a part of a long list, and where the next part begins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from auth_service.adapters.crypto.keys import SealBroken, Sealer, base64url, from_base64url
from auth_service.errors import ValidationFailed

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Page(Generic[T]):
    """Some items in order; `next_cursor` asks for those that follow and is None where nothing does."""

    items: Sequence[T]
    next_cursor: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cursors:
    """Positions in lists, sealed: they tell nothing, and open only the list of the person whom they were made for."""

    sealer: Sealer

    def position(self, cursor: str, *, of: str, user_id: int) -> Any:
        """Where the page begins that a cursor of somebody's list `of` asks for. Raises ValidationFailed."""
        try:
            return self.sealer.open(from_base64url(cursor), place=_place(of, user_id))["after"]
        except (ValueError, SealBroken):
            raise ValidationFailed(fields=[{"field": "cursor", "msg": "This is no cursor of yours."}]) from None

    def page(self, items: Sequence[T], *, limit: int, of: str, user_id: int, position: Callable[[T], Any]) -> Page[T]:
        """The first `limit` of the items, of which there is one more if another page follows."""
        if len(items) <= limit:
            return Page(items=items)
        sealed = self.sealer.seal({"after": position(items[limit - 1])}, place=_place(of, user_id))
        return Page(items=items[:limit], next_cursor=base64url(sealed))


def _place(of: str, user_id: int) -> bytes:
    return f"{of} of {user_id}".encode()
