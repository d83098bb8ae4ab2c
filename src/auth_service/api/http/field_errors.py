"""Field errors of pydantic: the stable reason of each of its error types, and a sentence as the message."""

from collections.abc import Iterator

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from auth_service.errors.fields import FieldError, FieldInvalid, FieldReason

MAX_FIELD_ERRORS = 20
MAX_FIELD_NAME = 64
"""In characters. Bounds the part of the request that an error response repeats."""

REASONS = {
    "missing": FieldReason.MISSING,
    "extra_forbidden": FieldReason.UNEXPECTED,
    "literal_error": FieldReason.UNKNOWN_VALUE,
    "enum": FieldReason.UNKNOWN_VALUE,
    "greater_than": FieldReason.TOO_SMALL,
    "greater_than_equal": FieldReason.TOO_SMALL,
    "less_than": FieldReason.TOO_LARGE,
    "less_than_equal": FieldReason.TOO_LARGE,
    "int_parsing_size": FieldReason.TOO_LARGE,
    "int_from_float": FieldReason.WRONG_TYPE,
}
"""The reasons of error types that no suffix decides."""

SUFFIXES = {
    "too_short": FieldReason.TOO_SHORT,
    "too_long": FieldReason.TOO_LONG,
    "_type": FieldReason.WRONG_TYPE,
    "_parsing": FieldReason.WRONG_TYPE,
}
"""The reasons of families of error types: `string_too_short`, `too_short`; `int_type`, `bool_parsing`."""


def field_errors(invalid: ValidationError) -> list[FieldError]:
    """Return what is wrong with each field, at most `MAX_FIELD_ERRORS`."""
    errors = invalid.errors(include_url=False, include_input=False)
    return [
        FieldError(
            field=".".join(map(str, error["loc"]))[:MAX_FIELD_NAME], reason=_reason(error), msg=_sentence(error["msg"])
        )
        for error in errors[:MAX_FIELD_ERRORS]
    ]


def reason_of_type(error_type: str) -> FieldReason:
    """Return the reason of an error type of pydantic; `malformed` for every type that is not listed."""
    by_suffix: Iterator[FieldReason] = (reason for suffix, reason in SUFFIXES.items() if error_type.endswith(suffix))
    return REASONS.get(error_type) or next(by_suffix, FieldReason.MALFORMED)


def _reason(error: ErrorDetails) -> FieldReason:
    raised = error.get("ctx", {}).get("error")
    return raised.reason if isinstance(raised, FieldInvalid) else reason_of_type(error["type"])


def _sentence(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message if message.endswith(".") else f"{message}."
