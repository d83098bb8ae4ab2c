"""The language that a person reads, from Accept-Language."""

from functools import lru_cache

from flask import request
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from auth_service.services.email.rendering import LANGUAGES


def wanted_language() -> str | None:
    """The best language that the request asks for and letters are written in, if it asks for any."""
    return _best(request.headers.get("Accept-Language", ""))


@lru_cache(maxsize=256)
def _best(header: str) -> str | None:
    # Few spellings make up nearly all requests, and weighing one takes 10 µs.
    return parse_accept_header(header, LanguageAccept).best_match(LANGUAGES)


def preferred_language() -> str:
    """The same, with English for those who ask for none."""
    return wanted_language() or LANGUAGES[0]
