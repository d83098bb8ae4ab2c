"""Field types of request and response models: email, code, password, seconds, each with its validation and schema."""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, SecretStr, WithJsonSchema

from auth_service.api.contract.swagger import NEW_PASSWORD
from auth_service.services.credentials import passwords
from auth_service.services.email import addresses
from auth_service.services.email.addresses import Address


class RequestModel(BaseModel):
    """Request data: strict types; an unknown field is an error. Inputs are hidden from error messages and logs."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


def _address(value: Any) -> Address:
    if not isinstance(value, str):
        raise ValueError("Input should be a valid string")  # noqa: TRY004 - pydantic reports ValueErrors
    if len(value) > addresses.LONGEST:
        raise ValueError(f"Send at most {addresses.LONGEST} characters")
    return addresses.parse(value)


def _code(value: Any) -> str:
    """Return the code as a string of digits. A JSON integer is accepted, although it cannot have leading zeros."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**8:
        value = str(value)
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4,8}", value, re.ASCII):
        raise ValueError("Send four to eight ASCII digits")
    return value


def revealed(secret: SecretStr | None) -> str | None:
    """Return the text of a secret; None for None."""
    return None if secret is None else secret.get_secret_value()


Email = Annotated[
    Address,
    PlainValidator(_address),
    WithJsonSchema({"type": "string", "format": "email", "maxLength": addresses.LONGEST, "examples": ["sgsf@sgfg.ru"]}),
]

Code = Annotated[
    str,
    BeforeValidator(_code),
    # A string or an integer: Swagger 2.0 has no union types, but each of these keywords applies to one type only.
    WithJsonSchema(
        {
            "description": "Four to eight ASCII digits, as a string or as an integer.",
            "pattern": "^[0-9]{4,8}$",
            "minimum": 1000,
            "maximum": 99999999,
            "examples": [7505],
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
            "examples": ["correct horse battery"],
        }
    ),
]

MAX_PASSWORD_INPUT = 1024
"""In characters before NFKC normalisation, which composes at most four characters into one. New passwords have at most
128 characters after it; imported ones may be longer."""

Password = Annotated[
    SecretStr,
    Field(min_length=1, max_length=MAX_PASSWORD_INPUT),
    WithJsonSchema({"type": "string", "format": "password", "minLength": 1, "maxLength": MAX_PASSWORD_INPUT}),
]
"""An existing password. The rules of new passwords do not apply: they may be stricter than when it was set."""


def _whole_seconds(value: timedelta) -> int:
    return -int(-value.total_seconds() // 1)  # rounded up


Seconds = Annotated[int, Field(ge=0), BeforeValidator(_whole_seconds)]
"""A duration in a response, in whole seconds rounded up."""
