"""Idempotency-Key header: the keyed request of an administrative POST."""

import re

from flask import request

from auth_service.api.contract.contract import Contract
from auth_service.api.http import parsing
from auth_service.api.security.authorization import caller
from auth_service.errors import ValidationFailed
from auth_service.errors.fields import FieldError, FieldReason
from auth_service.services.idempotency import KeyedRequest

IDEMPOTENCY_KEY = "Idempotency-Key"
FORM = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)
DESCRIPTION = (
    "8 to 64 characters of `A-Za-z0-9._-`. For 24 hours a repeated request with the same key and body gets the answer "
    "of the first one, and is not carried out again. A secret is in the first answer only; the repeated one has "
    '`"replayed": true` instead.'
)


def accepts_key(contract: Contract, method: str) -> bool:
    """Whether requests of this method and contract may carry an idempotency key."""
    return method.upper() == "POST" and contract.access.permission is not None


def keyed_request(contract: Contract) -> KeyedRequest | None:
    """Return the current request with its idempotency key; None without one. Raises ValidationFailed, BodyTooLarge."""
    key = parsing.header_text(IDEMPOTENCY_KEY)
    if key is None or not accepts_key(contract, request.method):
        return None
    if not FORM.fullmatch(key):
        message = "Send 8 to 64 characters of A-Z, a-z, 0-9, dot, underscore and hyphen."
        raise ValidationFailed(FieldError(field=IDEMPOTENCY_KEY, reason=FieldReason.MALFORMED, msg=message))
    content = f"{request.method} {request.full_path}\n".encode() + parsing.raw_body()
    return KeyedRequest(caller=caller(), key=key, request=content)
