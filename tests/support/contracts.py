"""The contracts of all routes of an application."""

from collections.abc import Iterator
from typing import Any

from flask import Flask


def contracts(app: Flask) -> Iterator[tuple[str, str, Any]]:
    """Every method of every route, with its contract if it has one."""
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        resource = getattr(view, "view_class", None)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            handler = getattr(resource, method.lower(), None) if resource else None
            yield method, rule.rule, getattr(handler, "contract", None)
