"""Strict parsing of requests: JSON bodies, forms and query strings, bounded in size, validated by pydantic models."""

import json
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import pydantic_core
from flask import request
from gunicorn.http.errors import ParseException
from pydantic import BaseModel, ValidationError

from auth_service.api.http.field_errors import MAX_FIELD_ERRORS, MAX_FIELD_NAME, field_errors
from auth_service.errors import (
    BodyNotJson,
    BodyTooLarge,
    ContentEncodingUnsupported,
    ContentTypeUnsupported,
    HttpRequestInvalid,
    ValidationFailed,
)
from auth_service.errors.fields import FieldError, FieldReason
from auth_service.invisible_characters import trimmed

Model = TypeVar("Model", bound=BaseModel)

INTEGER = "0|[1-9][0-9]*"
"""A decimal integer in a path or a query. No leading zeros: with one URL for each resource, proxy rules match all."""

ROLE_NAME = "role_name"
"""The URL converter of role names. A name in another form is an unknown role, not an unknown path."""

MAX_PARAMETERS = 20

LARGEST_BODY = 16 * 1024
"""In bytes. nginx has the same limit."""

FORM_CONTENT_TYPES = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})
"""Content types that an HTML form of any page can send without a preflight (CSRF); rejected even with an empty body."""


def body(model: type[Model]) -> Model:
    """Parse the body as one JSON object and validate it. An absent body counts as an empty object.

    Raises HttpRequestInvalid, BodyTooLarge, BodyNotJson, ContentTypeUnsupported, ContentEncodingUnsupported,
    ValidationFailed.
    """
    raw = raw_body()
    if not raw and request.mimetype not in FORM_CONTENT_TYPES:
        return _validated(model, b"{}")
    if request.mimetype != "application/json" or request.mimetype_params.get("charset", "utf-8").lower() != "utf-8":
        raise ContentTypeUnsupported
    _check_json(raw)
    return _validated(model, raw)


def body_has(field: str) -> bool:
    """Whether the body is a JSON object with this field. A malformed body has no field; parsing reports it later."""
    try:
        parsed = pydantic_core.from_json(raw_body())
    except ValueError:
        return False
    return isinstance(parsed, dict) and field in parsed


def header_text(name: str) -> str | None:
    """Return a header without the white space and invisible characters at its ends; None without the header.

    Servers decode headers as Latin-1, so that a pasted zero-width character arrives as the three bytes of its UTF-8.
    """
    value = request.headers.get(name)
    if value is None:
        return None
    if not value.isascii():
        with suppress(UnicodeError):
            value = value.encode("latin-1").decode()
    return trimmed(value)


def preferred_media_type(*offered: str) -> str:
    """Return the media type that the client prefers for the response (`Accept`); the first one by default."""
    return request.accept_mimetypes.best_match(offered) or offered[0]


def is_form() -> bool:
    """Whether the request declares its body as a URL-encoded form."""
    return request.mimetype == "application/x-www-form-urlencoded"


def urlencoded(model: type[Model]) -> Model:
    """Parse the body as a URL-encoded form and validate it. Unknown parameters are ignored (RFC 6749, 3.2).

    Only for endpoints that cookies never authenticate: any page can send such a form (CSRF). Raises HttpRequestInvalid,
    BodyTooLarge, ContentEncodingUnsupported, ValidationFailed.
    """
    pairs = _pairs(raw_body(), source="form")
    return _validated(
        model, json.dumps({name: value for name, value in pairs.items() if name in model.model_fields}).encode()
    )


def query(model: type[Model]) -> Model:
    """Parse the query string and validate it. Raises ValidationFailed, also for a repeated or unknown parameter."""
    return _validated(model, json.dumps(_pairs(request.query_string, source="query string")).encode())


def _pairs(raw: bytes, *, source: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(raw),
            errors="strict",
            max_num_fields=MAX_PARAMETERS,
        )
    except ValueError:  # also UnicodeDecodeError
        message = f"Send a well-formed {source} with at most {MAX_PARAMETERS} parameters."
        raise ValidationFailed(_whole(FieldReason.MALFORMED, message)) from None
    values = dict(pairs)
    if len(values) < len(pairs):
        repeated = sorted({name for name, _ in pairs if [other for other, _ in pairs].count(name) > 1})
        raise ValidationFailed(*(_named(name, FieldReason.REPEATED, "Send this parameter once.") for name in repeated))
    return values


def reject_query() -> None:
    """Raise ValidationFailed if there is a query string. Ignoring it would hide a mistake of the client."""
    if request.query_string:
        raise ValidationFailed(_whole(FieldReason.UNEXPECTED, "Send no query string."))


def query_or_body(model: type[Model]) -> Model:
    """Parse the query string, or the body if there is no query string. Raises ValidationFailed if there are both."""
    if not request.query_string:
        return body(model)
    if raw_body():
        raise ValidationFailed(_whole(FieldReason.TWO_PLACES, "Use the query string or the body, not both."))
    return query(model)


def raw_body() -> bytes:
    """Return the body. Raises HttpRequestInvalid, BodyTooLarge, ContentEncodingUnsupported."""
    try:
        raw = request.get_data()
    except ParseException:  # malformed chunks: gunicorn reads the body only at this point
        raise HttpRequestInvalid from None
    # werkzeug rejects a Content-Length above its limit, but silently truncates a chunked body at that limit. Its limit
    # is one byte above ours (see `create_app`), so that a truncated body is recognised as too large.
    if len(raw) > LARGEST_BODY:
        raise BodyTooLarge
    if raw and not _content_codings() <= {"", "identity"}:
        raise ContentEncodingUnsupported
    return raw


def _content_codings() -> set[str]:
    return {coding.strip().lower() for coding in request.headers.get("Content-Encoding", "").split(",")}


def _check_json(raw: bytes) -> None:
    """Raise BodyNotJson for repeated names and for JSON that is not an object, which pydantic would accept.

    Parsers disagree which value of a repeated name counts: a proxy may have checked another one (RFC 8259, 4).
    """
    try:
        # pydantic's parser first: it bounds the depth and rejects NaN and lone surrogates. Python's parser is safe only
        # after that.
        parsed = pydantic_core.from_json(raw, allow_inf_nan=False)
        json.loads(raw, object_pairs_hook=_unique)
    except ValueError:
        raise BodyNotJson from None
    if not isinstance(parsed, dict):
        raise BodyNotJson


def _reject_nul(values: dict[str, Any]) -> None:
    """Raise ValidationFailed for NUL characters: PostgreSQL cannot store them in text."""
    names = [name for name, value in values.items() if "\0" in name or (isinstance(value, str) and "\0" in value)]
    if names:
        fields = [_named(name, FieldReason.NUL_CHARACTER, "Send no NUL characters.") for name in names]
        raise ValidationFailed(*fields[:MAX_FIELD_ERRORS])


def _whole(reason: FieldReason, message: str) -> FieldError:
    """Return an error about no single field."""
    return FieldError(field="", reason=reason, msg=message)


def _named(name: str, reason: FieldReason, message: str) -> FieldError:
    return FieldError(field=name[:MAX_FIELD_NAME], reason=reason, msg=message)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError
    return values


def _validated(model: type[Model], raw: bytes) -> Model:
    if b"\\u0000" in raw:
        _reject_nul(json.loads(raw))
    try:
        return model.model_validate_json(raw)
    except ValidationError as invalid:
        raise ValidationFailed(*field_errors(invalid)) from None
