"""Pages: a part of a long list, and where the next part begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Page(Generic[T]):
    """Some items in order; `next_cursor` asks for those that follow and is None where nothing does."""

    items: Sequence[T]
    next_cursor: str | None = None
