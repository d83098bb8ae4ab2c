"""Content negotiation of the language (`Accept-Language`) for emails and pages."""

from functools import lru_cache

from flask import request
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from auth_service.services.email.rendering import LANGUAGES


def accepted_language() -> str | None:
    """Return the supported language that `Accept-Language` prefers, or None if it accepts none of them."""
    return _best_match(request.headers.get("Accept-Language", ""))


@lru_cache(maxsize=256)
def _best_match(header: str) -> str | None:
    # Cached: a few values make up nearly all requests, and parsing one takes 10 µs.
    return parse_accept_header(header, LanguageAccept).best_match(LANGUAGES)


def preferred_language() -> str:
    """Return the accepted language, or English if the request accepts no supported language."""
    return accepted_language() or LANGUAGES[0]
