"""Invisible characters: the table of them, trimming, and addresses and codes that do not depend on them."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_service.errors.fields import FieldInvalid, FieldReason
from auth_service.invisible_characters import DASHES, ZERO_WIDTH, trimmed, without_separators, without_zero_width
from auth_service.services.email import addresses
from tests.support.invisible import DASH_SAMPLES, EVERY_CHARACTER, WHITE_SPACE

VISIBLE_FORMAT = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD, *range(0x13430, 0x13440)}
"""Format characters with a glyph: signs that precede numbers, and hieroglyph joiners."""

padding = st.text(st.sampled_from([*WHITE_SPACE, *sorted(ZERO_WIDTH)]), max_size=5)
zero_width = st.text(st.sampled_from(sorted(ZERO_WIDTH)), max_size=3)
separators = st.text(st.sampled_from([*WHITE_SPACE, *sorted(ZERO_WIDTH), *DASH_SAMPLES]), max_size=4)
emails = st.sampled_from(["ada@example.org", "o'ne+two@sub.example.org", "Ada@почта.рф", "ada@xn--80a1acny.xn--p1ai"])

codes = st.from_regex(r"\A[0-9]{4,8}\Z")


def test_the_table_has_every_format_character_without_a_glyph() -> None:
    """Unicode may add format characters: then this test names them."""
    formats = {number for number in range(0x110000) if unicodedata.category(chr(number)) == "Cf"}

    assert {hex(number) for number in formats - VISIBLE_FORMAT - set(map(ord, ZERO_WIDTH))} == set()
    assert not any(unicodedata.category(character) in {"Lu", "Ll", "Nd", "Pd", "Zs"} for character in ZERO_WIDTH)
    assert not any(character.isspace() or character.isascii() for character in ZERO_WIDTH)


def test_no_other_character_becomes_a_zero_width_one_by_normalisation() -> None:
    """Otherwise an address could contain one after its zero-width characters were removed."""
    for character in map(chr, range(0x110000)):
        if character not in ZERO_WIDTH:
            assert ZERO_WIDTH.isdisjoint(unicodedata.normalize("NFKC", character)), hex(ord(character))


@given(text=st.text(), before=padding, after=padding)
def test_trimming_removes_invisible_characters_at_the_ends_only(text: str, before: str, after: str) -> None:
    kept = trimmed(before + text + after)

    assert kept == trimmed(text)
    assert kept in text
    assert not kept or all(end not in ZERO_WIDTH and not end.isspace() for end in (kept[0], kept[-1]))


def test_work_is_proportional_to_the_length() -> None:
    """A regular expression would need quadratic time for a long run of invisible characters (denial of service)."""
    run = "\u200b " * 100_000

    assert trimmed(f"a{run}b") == f"a{run}b"
    assert without_zero_width(run) == without_separators(run) == ""


def sprinkled(text: str, between: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, str]]:
    """The text, and the text with characters after each of its own."""
    gaps = st.lists(between, min_size=len(text), max_size=len(text))
    return gaps.map(lambda gaps: (text, "".join(map("".join, zip(text, gaps, strict=True)))))


def parsed(text: str) -> addresses.Address | FieldInvalid:
    try:
        return addresses.parse(text)
    except FieldInvalid as invalid:
        return invalid


@given(pasted=emails.flatmap(lambda email: sprinkled(email, zero_width)), before=padding, after=padding)
def test_in4_an_address_does_not_depend_on_invisible_characters(
    pasted: tuple[str, str], before: str, after: str
) -> None:
    email, text = pasted

    result = parsed(before + text + after)

    if isinstance(result, FieldInvalid):
        assert result.reason is FieldReason.EMAIL_HAS_JOINERS
        assert not email.isascii()
    else:
        assert result == addresses.parse(email)


@pytest.mark.parametrize("character", EVERY_CHARACTER, ids=ascii)
def test_in4_every_invisible_character_around_an_address_is_removed(character: str) -> None:
    plain = addresses.parse("ada@example.org")

    for pasted in (f"{character}ada@example.org", f"ada@example.org{character}", f"{character * 300}ada@example.org "):
        assert addresses.parse(pasted) == plain


@given(text=st.text(max_size=30) | st.from_regex(r"\A\w{1,5}\W{0,2}@\w{1,5}\W{0,2}\.[a-z]{2,4}\W{0,2}\Z"))
def test_in4_a_stored_address_is_printable_ascii(text: str) -> None:
    result = parsed(text)

    if isinstance(result, FieldInvalid):
        assert str(result).endswith(".")
    else:
        assert result.stored.isascii()
        assert result.stored.isprintable()
        assert " " not in result.stored
        assert addresses.parse(result.stored) == result


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ada", FieldReason.EMAIL_INVALID),
        ("", FieldReason.EMAIL_INVALID),
        ("\u200b", FieldReason.EMAIL_INVALID),
        ("ada\x07@example.org", FieldReason.EMAIL_INVALID),
        ("ada lovelace@example.org", FieldReason.EMAIL_HAS_SPACES),
        ("ada\u00a0@example.org", FieldReason.EMAIL_HAS_SPACES),
        ("ada@example.org\r\nBcc: eve@example.org", FieldReason.EMAIL_HAS_SPACES),
        ("\u0430da@example.org", FieldReason.EMAIL_NOT_ASCII),
        ("ada@\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.com", FieldReason.EMAIL_HAS_JOINERS),
        ("ada@\u0646\u0627\u0645\u0647\u200b\u200c\u0627\u06cc.com", FieldReason.EMAIL_HAS_JOINERS),
        ("a" * 300 + "@example.org", FieldReason.TOO_LONG),
    ],
    ids=ascii,
)
def test_an_invalid_address_has_a_reason(text: str, reason: FieldReason) -> None:
    result = parsed(text)

    assert isinstance(result, FieldInvalid)
    assert result.reason is reason


@given(pasted=codes.flatmap(lambda code: sprinkled(code, separators)), before=separators)
def test_cd6_a_code_does_not_depend_on_separators(pasted: tuple[str, str], before: str) -> None:
    code, text = pasted

    assert without_separators(before + text) == code


def test_cd6_only_separators_are_removed_from_a_code() -> None:
    for character in map(chr, range(0x10000)):
        if without_separators(character) == "":
            category = unicodedata.category(character)
            assert category == "Pd" or character in DASHES | ZERO_WIDTH or character.isspace(), hex(ord(character))
            assert category != "Nd"
