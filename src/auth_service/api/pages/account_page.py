"""Pages that links in emails open: in the language of the browser, with a strict Content-Security-Policy.

The token of a link is in the fragment of the URL, which browsers send to no server; a script of the page reads it.
Opening a page changes nothing, because mail scanners open links.
"""

import secrets
from collections.abc import Mapping

from flask import Response, render_template

from auth_service.api.current import services
from auth_service.api.http.language import preferred_language


def account_page(template: str, texts: Mapping[str, Mapping[str, str]], **values: object) -> Response:
    """Render a template with its texts in the language of `Accept-Language`.

    The texts may contain `{service}` and the names of `values`.
    """
    nonce = secrets.token_urlsafe(16)
    language = preferred_language()
    service = services().settings.service_name
    complete = {name: text.format(service=service, **values) for name, text in texts[language].items()}
    response = Response(
        render_template(template, texts=complete, language=language, service=service, nonce=nonce, **values),
        content_type="text/html; charset=utf-8",
    )
    response.headers["Content-Language"] = language
    response.vary.add("Accept-Language")
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return response
