"""Field types of request and response models: email, code, password, seconds, each with its validation and schema."""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, SecretStr, WithJsonSchema

from auth_service.adapters.crypto import totp
from auth_service.adapters.crypto.flow_tickets import LONGEST as LONGEST_TICKET
from auth_service.api.contract.json_schemas import NEW_PASSWORD
from auth_service.errors.fields import FieldInvalid, FieldReason
from auth_service.invisible_characters import trimmed, without_separators
from auth_service.services.credentials import passwords, recovery_codes
from auth_service.services.email import addresses
from auth_service.services.email.addresses import Address

LONGEST_RECOVERY_CODE = 256
"""In characters as users type it, with separators."""


class RequestModel(BaseModel):
    """Request data: strict types; an unknown field is an error. Inputs are hidden from error messages and logs."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


def example(**values: Any) -> ConfigDict:
    """Return the configuration of a request model whose example has these values, and not only the required fields."""
    return ConfigDict(json_schema_extra={"examples": [values]})


def _address(value: Any) -> Address:
    if not isinstance(value, str):
        raise FieldInvalid(FieldReason.WRONG_TYPE, "Input should be a valid string.")
    return addresses.parse(value)


def _code(value: Any) -> str:
    """Return the code as a string of digits. A JSON integer is accepted, although it cannot have leading zeros.

    White space, dashes and invisible characters are removed from a string: users paste `123 456` and `123-456`.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**8:
        value = str(value)
    if not isinstance(value, str):
        raise FieldInvalid(FieldReason.WRONG_TYPE, "Send the code as a string or as an integer.")
    code = without_separators(value)
    if not re.fullmatch(r"[0-9]{4,8}", code, re.ASCII):
        raise FieldInvalid(FieldReason.CODE_INVALID, "Send four to eight ASCII digits.")
    return code


def _totp(value: Any) -> str:
    code = _code(value)
    if len(code) != totp.DIGITS:
        raise FieldInvalid(FieldReason.CODE_INVALID, "Send six ASCII digits.")
    return code


def _recovery_code(value: Any) -> str:
    """Return the canonical form of a recovery code."""
    if not isinstance(value, str):
        raise FieldInvalid(FieldReason.WRONG_TYPE, "Send the recovery code as a string.")
    code = recovery_codes.normalised(value) if len(value) <= LONGEST_RECOVERY_CODE else None
    if code is None:
        raise FieldInvalid(FieldReason.CODE_INVALID, "Send the 24 letters and digits of a recovery code.")
    return code


def _trimmed(value: Any) -> Any:
    return trimmed(value) if isinstance(value, str) else value


Trimmed = BeforeValidator(_trimmed)
"""For opaque values that this service issued, such as tokens and cursors. They contain no invisible character, so one
at an end comes from pasting or from a file. Never for passwords: a space is a character of a password."""


LinkToken = Annotated[
    SecretStr,
    Trimmed,
    Field(min_length=1, max_length=128),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 128}),
]
"""The single-use token of a link in an email: the part after `#`."""


SealedTicket = Annotated[
    SecretStr,
    Trimmed,
    Field(min_length=1, max_length=LONGEST_TICKET),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": LONGEST_TICKET}),
]
"""A sealed flow ticket, of a second step or of a passkey ceremony."""


def revealed(secret: SecretStr | None) -> str | None:
    """Return the text of a secret; None for None."""
    return None if secret is None else secret.get_secret_value()


EXAMPLE_PASSWORD = "correct horse battery"  # noqa: S105 - an example

Email = Annotated[
    Address,
    PlainValidator(_address),
    WithJsonSchema(
        {
            "type": "string",
            "format": "email",
            "maxLength": addresses.LONGEST,
            "description": "White space around the address and zero-width characters are removed.",
            "examples": ["sgsf@sgfg.ru"],
        }
    ),
]

Code = Annotated[
    str,
    BeforeValidator(_code),
    # The document has the type that clients should send: an integer is accepted, but has no leading zeros. The pattern
    # holds for every accepted string; the description says which other characters are removed.
    WithJsonSchema(
        {
            "type": "string",
            "description": "Four to eight ASCII digits; white space, dashes and invisible characters are removed. An "
            "integer is accepted, too.",
            "pattern": "^([^0-9]*[0-9]){4,8}[^0-9]*$",
            "examples": ["7505"],
        }
    ),
]

TotpCode = Annotated[
    str,
    BeforeValidator(_totp),
    WithJsonSchema(
        {
            "type": "string",
            "description": "Six ASCII digits of the authenticator app; white space, dashes and invisible characters "
            "are removed. An integer is accepted, too.",
            "pattern": "^([^0-9]*[0-9]){6}[^0-9]*$",
            "examples": ["492039"],
        }
    ),
]

RecoveryCode = Annotated[
    SecretStr,
    BeforeValidator(_recovery_code),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": recovery_codes.LENGTH,
            "maxLength": LONGEST_RECOVERY_CODE,
            "description": "24 letters and digits; case, white space and dashes do not matter, and `O`, `I` and `L` "
            "are read as digits.",
            "examples": ["7Q4M-0XKD-92RB-HT5W-1NCE-8VGZ"],
        }
    ),
]

NewPassword = Annotated[
    SecretStr,
    WithJsonSchema(
        {
            "type": "string",
            "format": "password",
            "maxLength": passwords.MAX_LENGTH,
            "description": "Counted after NFKC normalisation; a common password and the email address are rejected.",
            NEW_PASSWORD: True,
            "examples": [EXAMPLE_PASSWORD],
        }
    ),
]

MAX_PASSWORD_INPUT = 1024
"""In characters before NFKC normalisation, which composes at most four characters into one. New passwords have at most
128 characters after it; imported ones may be longer."""

Password = Annotated[
    SecretStr,
    Field(min_length=1, max_length=MAX_PASSWORD_INPUT),
    WithJsonSchema(
        {
            "type": "string",
            "format": "password",
            "minLength": 1,
            "maxLength": MAX_PASSWORD_INPUT,
            "examples": [EXAMPLE_PASSWORD],
        }
    ),
]
"""An existing password. The rules of new passwords do not apply: they may be stricter than when it was set."""


def _whole_seconds(value: timedelta) -> int:
    return -int(-value.total_seconds() // 1)  # rounded up


Seconds = Annotated[int, Field(ge=0), BeforeValidator(_whole_seconds)]
"""A duration in a response, in whole seconds rounded up."""
