"""The language that a person reads, from Accept-Language."""

from flask import request

from auth_service.services.letters import LANGUAGES


def wanted_language() -> str | None:
    """The best language that the request asks for and letters are written in, if it asks for any."""
    return request.accept_languages.best_match(LANGUAGES)


def preferred_language() -> str:
    """The same, with English for those who ask for none."""
    return wanted_language() or LANGUAGES[0]
