"""Headers of letters: what all letters have in common is parsed and folded once.

The library's own way makes a new class for each header of each letter, parses it, and folds it again on the way out.
That is most of what a letter costs.
"""

from email.header import Header
from email.headerregistry import BaseHeader, HeaderRegistry, UniqueUnstructuredHeader
from email.policy import SMTP, Policy
from functools import lru_cache

# With its name it fits into the 78 characters that RFC 5322 recommends for a line.
LONGEST_PLAIN_SUBJECT = 69


class _FoldedOnce(BaseHeader):
    """A header that remembers its last form on the wire."""

    _folded: tuple[object, str] = None, ""

    def fold(self, *, policy: Policy) -> str:
        # All that folding looks at. The policy itself is no key: the library makes a copy of it for each part.
        manner = policy.max_line_length, policy.linesep, getattr(policy, "utf8", False)
        folded = self._folded
        if folded[0] != manner:
            folded = self._folded = manner, super().fold(policy=policy)
        return folded[1]


class _Subject(UniqueUnstructuredHeader, BaseHeader):  # type: ignore[misc]  # The stubs disagree about max_count.
    """A subject that is read as it was written: the folding of the library loses spaces between encoded words."""

    def fold(self, *, policy: Policy) -> str:
        words = str(self)
        if not words.isascii() or len(words) > LONGEST_PLAIN_SUBJECT:
            words = Header(words, "utf-8", header_name=self.name).encode(linesep=policy.linesep)
        return f"{self.name}: {words}{policy.linesep}"


class _Registry(HeaderRegistry):
    """Makes each class of header once."""

    def __init__(self) -> None:
        super().__init__(base_class=_FoldedOnce)
        self.map_to_type("subject", _Subject)
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
    """A header that many letters have. It stays in memory, so it is not for anything personal."""
    header: BaseHeader = POLICY.header_factory(name, value)
    return header
