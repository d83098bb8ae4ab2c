"""Headers of letters: those that all letters share are parsed and folded once.

The library's own way makes a new class for each header of each letter, parses it, and folds it again on the way out, which
is most of what a letter costs.
"""

from email.headerregistry import BaseHeader, HeaderRegistry
from email.policy import SMTP, Policy
from functools import lru_cache


class _FoldedOnce(BaseHeader):
    """A header that remembers how it looks on the wire."""

    def init(self, *args: object, **kwargs: object) -> None:
        super().init(*args, **kwargs)
        self._folded: dict[Policy, str] = {}

    def fold(self, *, policy: Policy) -> str:
        folded = self._folded.get(policy)
        if folded is None:
            folded = self._folded[policy] = super().fold(policy=policy)
        return folded


class _Registry(HeaderRegistry):
    """Makes each class of header once."""

    def __init__(self) -> None:
        super().__init__(base_class=_FoldedOnce)
        self._made: dict[str, type[BaseHeader]] = {}

    def __getitem__(self, name: str) -> type[BaseHeader]:
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = super().__getitem__(name)
        return made


# Everything in seven bits: no extension of a mail server is needed, and nobody on the way has to recode a letter.
POLICY = SMTP.clone(cte_type="7bit", header_factory=_Registry())


@lru_cache(maxsize=32)
def shared(name: str, value: str) -> BaseHeader:
    """A header that many letters have. Nothing personal: it stays in memory."""
    header: BaseHeader = POLICY.header_factory(name, value)
    return header
