"""Fields that several forms share, each with its check and what the Swagger page says of it."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainValidator, SecretStr, WithJsonSchema

from auth_service.api.contract.swagger import NEW_PASSWORD
from auth_service.services.credentials import passwords
from auth_service.services.email import addresses
from auth_service.services.email.addresses import Address


class RequestModel(BaseModel):
    """Something that comes in: strict types, no unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


def _address(value: Any) -> Address:
    if not isinstance(value, str):
        raise ValueError("Input should be a valid string")  # noqa: TRY004 - pydantic reports ValueErrors
    if len(value) > addresses.LONGEST:
        raise ValueError(f"Send at most {addresses.LONGEST} characters")
    return addresses.parse(value)


def _code(value: Any) -> str:
    """A code as the digits that were mailed; a JSON integer stands for its decimal digits."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**8:
        value = str(value)
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4,8}", value, re.ASCII):
        raise ValueError("Send four to eight ASCII digits")
    return value


def revealed(secret: SecretStr | None) -> str | None:
    """What is hidden in a secret, if there is one."""
    return None if secret is None else secret.get_secret_value()


Email = Annotated[
    Address,
    PlainValidator(_address),
    WithJsonSchema({"type": "string", "format": "email", "maxLength": addresses.LONGEST, "examples": ["sgsf@sgfg.ru"]}),
]

Code = Annotated[
    str,
    BeforeValidator(_code),
    # A string or an integer: Swagger 2.0 has no union, but each of these words binds one type only.
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
            "description": "Normalised (NFKC) and then counted; no common one, not the address.",
            NEW_PASSWORD: True,
            "examples": ["correct horse battery"],
        }
    ),
]
