"""From raw bytes to a checked form: strict, bounded, and never a 500."""

import json
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import pydantic_core
from flask import request
from gunicorn.http.errors import ParseException
from pydantic import BaseModel, ValidationError

from auth_service.errors import (
    BodyNotJson,
    BodyTooLarge,
    ContentEncodingUnsupported,
    ContentTypeUnsupported,
    HttpRequestInvalid,
    ValidationFailed,
)

Form = TypeVar("Form", bound=BaseModel)

INTEGER = "0|[1-9][0-9]*"
"""An integer in a path or a query: one spelling for each, so that nothing has a second name for a cache or a log."""

MOST_PARAMETERS = 20

LARGEST_BODY = 16 * 1024

TYPES_OF_FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})
"""What a form on anybody's page can send without asking us first; refused even when it is empty."""

MOST_MISFITS = 20
LONGEST_NAME = 64


def body(form: type[Form]) -> Form:
    """Read the body as one JSON object that fits `form`; an absent body is an empty object.

    Raises HttpRequestInvalid, BodyTooLarge, BodyNotJson, ContentTypeUnsupported, ContentEncodingUnsupported,
    ValidationFailed.
    """
    raw = _raw_body()
    if not raw and request.mimetype not in TYPES_OF_FORMS:
        return _fitted(form, b"{}")
    if request.mimetype != "application/json" or request.mimetype_params.get("charset", "utf-8").lower() != "utf-8":
        raise ContentTypeUnsupported
    _refuse_odd_json(raw)
    return _fitted(form, raw)


def is_form() -> bool:
    """Whether the body says that it is a form."""
    return request.mimetype == "application/x-www-form-urlencoded"


def urlencoded(form: type[Form]) -> Form:
    """Read the body as a form; every parameter once. Unknown ones are ignored, as RFC 6749 (3.2) wants it.

    Only where something else than a cookie speaks for the caller: anybody's page can send one.
    """
    pairs = _pairs(_raw_body(), said_of="form")
    return _fitted(
        form, json.dumps({name: value for name, value in pairs.items() if name in form.model_fields}).encode()
    )


def query(form: type[Form]) -> Form:
    """Read the query string; every parameter once, every parameter known. Raises ValidationFailed."""
    return _fitted(form, json.dumps(_pairs(request.query_string, said_of="query string")).encode())


def _pairs(raw: bytes, *, said_of: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(raw),
            errors="strict",
            max_num_fields=MOST_PARAMETERS,
        )
    except ValueError:  # also UnicodeDecodeError
        message = f"Send a well-formed {said_of} with at most {MOST_PARAMETERS} parameters."
        raise ValidationFailed(fields=[{"field": "", "msg": message}]) from None
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = sorted({name for name, _ in pairs if [other for other, _ in pairs].count(name) > 1})
        raise ValidationFailed(fields=[{"field": name, "msg": "Send this parameter once."} for name in twice])
    return values


def no_query() -> None:
    """Refuse a query string where none belongs: ignored, it would let its sender believe that it did something."""
    if request.query_string:
        raise ValidationFailed(fields=[{"field": "", "msg": "Send no query string."}])


def query_or_body(form: type[Form]) -> Form:
    """Read the fields of `form` from the query string, or from the body when there is none; never from both."""
    if not request.query_string:
        return body(form)
    if _raw_body():
        raise ValidationFailed(fields=[{"field": "", "msg": "Use the query string or the body, not both."}])
    return query(form)


def _raw_body() -> bytes:
    try:
        raw = request.get_data()
    except ParseException:  # chunks that are none: gunicorn reads the body only now
        raise HttpRequestInvalid from None
    # werkzeug refuses a Content-Length over its limit, but cuts a chunked body there without a word. Its limit is one
    # byte higher than ours (see `create_app`), so that what was cut is seen to be too large.
    if len(raw) > LARGEST_BODY:
        raise BodyTooLarge
    if raw and not _codings() <= {"", "identity"}:
        raise ContentEncodingUnsupported
    return raw


def _codings() -> set[str]:
    return {coding.strip().lower() for coding in request.headers.get("Content-Encoding", "").split(",")}


def _refuse_odd_json(raw: bytes) -> None:
    """Refuse what pydantic's parser would let through: repeated names, of which it keeps the last, and non-objects."""
    try:
        # The parser of pydantic bounds depth and refuses NaN and lone surrogates; only then is Python's safe to call.
        parsed = pydantic_core.from_json(raw, allow_inf_nan=False)
        json.loads(raw, object_pairs_hook=_unique)
    except ValueError:
        raise BodyNotJson from None
    if not isinstance(parsed, dict):
        raise BodyNotJson


def _refuse_nul(values: dict[str, Any]) -> None:
    """Refuse NUL characters in whatever is sent: PostgreSQL cannot keep them, and no secret of ours has any."""
    named = [name for name, value in values.items() if "\0" in name or (isinstance(value, str) and "\0" in value)]
    if named:
        fields = [{"field": name[:LONGEST_NAME], "msg": "Send no NUL characters."} for name in named]
        raise ValidationFailed(fields=fields[:MOST_MISFITS])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError
    return found


def _fitted(form: type[Form], raw: bytes) -> Form:
    if b"\\u0000" in raw:
        _refuse_nul(json.loads(raw))
    try:
        return form.model_validate_json(raw)
    except ValidationError as misfit:
        errors = misfit.errors(include_url=False, include_input=False, include_context=False)
        raise ValidationFailed(
            fields=[
                {"field": ".".join(map(str, error["loc"]))[:LONGEST_NAME], "msg": _sentence(error["msg"])}
                for error in errors[:MOST_MISFITS]
            ]
        ) from None


def _sentence(said: str) -> str:
    said = said.removeprefix("Value error, ")
    return said if said.endswith(".") else f"{said}."
