"""Field errors: why one value of a request is invalid, as a stable reason for programs and a message for developers."""

from typing import Annotated, TypedDict

from auth_service.described_enum import DescribedEnum


class FieldReason(DescribedEnum):
    """The `reason` of a field error. A reason never changes; new ones may be added."""

    MISSING = "missing", "required and not sent"
    UNEXPECTED = "unexpected", "the request has no such field or parameter; with an empty `field`: no query string"
    REPEATED = "repeated", "a parameter was sent more than once"
    TWO_PLACES = "two_places", "parameters in the query string and in the body; send one of both"
    EXCLUSIVE = "exclusive", "fields that exclude each other, such as `password` and `code`, were sent together"
    MALFORMED = (
        "malformed",
        "not of the documented form; with an empty `field`: the query string or the form of the body",
    )
    WRONG_TYPE = "wrong_type", "another type than the documented one, such as null or a number for a text"
    TOO_SHORT = "too_short", "fewer characters than allowed"
    TOO_LONG = "too_long", "more characters than allowed"
    TOO_SMALL = "too_small", "a number below the smallest allowed one"
    TOO_LARGE = "too_large", "a number above the largest allowed one"
    UNKNOWN_VALUE = "unknown_value", "none of the documented values"
    NUL_CHARACTER = "nul_character", "a text or name with a NUL character"
    EMAIL_INVALID = "email_invalid", "no email address, or one of a form that the service does not accept"
    EMAIL_HAS_SPACES = "email_has_spaces", "an email address with white space inside"
    EMAIL_NOT_ASCII = "email_not_ascii", "letters before the @-sign that are not Latin, such as a Cyrillic `а`"
    EMAIL_HAS_JOINERS = "email_has_joiners", "an email address with invisible joiners after letters of another script"
    CODE_INVALID = (
        "code_invalid",
        "not a code of the documented form: four to eight digits, or the characters of a recovery code",
    )
    CURSOR_INVALID = "cursor_invalid", "no `next_cursor` of this list"
    CONTROL_CHARACTERS = "control_characters", "a new password with control characters"
    COMMON = "common", "one of the most common passwords"
    GUESSABLE = "guessable", "a new password that an attacker would try early"
    CONTEXT = "context", "a new password made of the address or of the name of the service"
    UNCHANGED = "unchanged", "the new password is the current one"


class FieldError(TypedDict):
    """One invalid value of a request."""

    field: Annotated[str, "The field or parameter; empty if the error is about no single one."]
    reason: Annotated[FieldReason, "Stable; clients compare and translate it. New reasons may be added."]
    msg: Annotated[str, "In English: what to do next."]


class FieldInvalid(ValueError):
    """A value of a request is invalid. The text is a sentence for developers."""

    def __init__(self, reason: FieldReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
