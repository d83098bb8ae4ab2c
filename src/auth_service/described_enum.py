"""String enumeration whose members have a description, for documents and for readers of the values."""

from enum import StrEnum
from typing import Self


class DescribedEnum(StrEnum):
    """An enumeration of `VALUE = "text", "description"`.

    The description is an attribute, not a docstring, because `python -OO` drops docstrings.
    """

    description: str

    def __new__(cls, value: str, description: str = "") -> Self:
        """Create a member whose text is `value`. A look-up by value, such as `Kind("a")`, passes no description."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.description = description
        return member
