"""Invisible characters in pasted text: white space, zero-width characters and bidi marks; trimming and removal.

A user does not see these characters, so they must not change the result: an address, a code or a token is read
without them. Passwords are never changed.
"""

import unicodedata
from functools import lru_cache

ZERO_WIDTH = frozenset(
    chr(number)
    for first, last in (
        # Default_Ignorable_Code_Point of Unicode: shown as nothing by a program that has no glyph for the character.
        (0x00AD, 0x00AD),  # soft hyphen
        (0x034F, 0x034F),  # combining grapheme joiner
        (0x061C, 0x061C),  # Arabic letter mark
        (0x115F, 0x1160),  # Hangul fillers
        (0x17B4, 0x17B5),  # Khmer inherent vowels
        (0x180B, 0x180F),  # Mongolian variation selectors and vowel separator
        (0x200B, 0x200F),  # zero-width space, joiners, left-to-right and right-to-left mark
        (0x202A, 0x202E),  # bidi embeddings and overrides
        (0x2060, 0x206F),  # word joiner, invisible operators, bidi isolates
        (0x3164, 0x3164),  # Hangul filler
        (0xFE00, 0xFE0F),  # variation selectors
        (0xFEFF, 0xFEFF),  # byte order mark, zero-width no-break space
        (0xFFA0, 0xFFA0),  # halfwidth Hangul filler
        (0xFFF0, 0xFFF8),  # unassigned
        (0x1BCA0, 0x1BCA3),  # shorthand format controls
        (0x1D173, 0x1D17A),  # musical format controls
        (0xE0000, 0xE0FFF),  # tags, variation selectors
        # Invisible without that property.
        (0x2800, 0x2800),  # Braille pattern blank
        (0xFFF9, 0xFFFB),  # interlinear annotation
    )
    for number in range(first, last + 1)
)
"""Invisible characters that are not white space."""

DASHES = frozenset("\u02d7\u2043\u207b\u208b\u2212\u2796\u30fc\uff70")
"""Characters that look like a hyphen, apart from those of the Unicode category of dashes (Pd)."""


def trimmed(text: str) -> str:
    """Return the text without the invisible characters at its ends."""
    start, end = 0, len(text)
    while start < end and _is_invisible(text[start]):
        start += 1
    while start < end and _is_invisible(text[end - 1]):
        end -= 1
    return text[start:end]


def without_zero_width(text: str) -> str:
    """Return the text without zero-width characters anywhere, and without white space at its ends.

    White space inside stays, because a user sees it.
    """
    return trimmed(text if text.isascii() else "".join(filter(_is_not_zero_width, text)))


def without_separators(text: str) -> str:
    """Return the text without white space, dashes and zero-width characters: `123456` for `123 456` and `123-456`."""
    return "".join(character for character in text if not (_is_invisible(character) or _is_dash(character)))


def _is_not_zero_width(character: str) -> bool:
    return character not in ZERO_WIDTH


def _is_invisible(character: str) -> bool:
    return character.isspace() or character in ZERO_WIDTH


@lru_cache(maxsize=512)
def _is_dash(character: str) -> bool:
    return unicodedata.category(character) == "Pd" or character in DASHES
