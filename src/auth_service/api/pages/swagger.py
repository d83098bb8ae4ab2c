"""Swagger page (`/api/swagger`, `/api/openapi`) and the documents that it shows, under a strict CSP."""

import json
import secrets
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from flask import Blueprint, Response, render_template, send_from_directory

from auth_service.api.contract.swagger import from_openapi
from auth_service.api.http.responses import JSON
from auth_service.errors import PathUnknown

ASSETS = files("flask_swagger_ui") / "dist"
"""Swagger UI 5. Of the package only these files are used."""

STYLESHEET = "swagger.css"
"""Our rules, which win over those of Swagger UI."""

SERVED = frozenset({"swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"})


def blueprint(document: dict[str, Any]) -> Blueprint:
    """Return the blueprint of the documents, their pages and the files of Swagger UI."""
    swagger = Blueprint("swagger", __name__)
    documents = {"swagger": from_openapi(document), "openapi": document}
    for name, each in documents.items():
        swagger.add_url_rule(f"/api/{name}.json", f"{name}_document", _document(each))
        swagger.add_url_rule(f"/api/{name}", f"{name}_page", _page(name, title=each["info"]["title"]))

    @swagger.get("/swaggerui/<path:filename>")
    def assets(filename: str) -> Response:
        if filename == STYLESHEET:
            return Response(render_template(STYLESHEET), content_type="text/css; charset=utf-8")
        if filename not in SERVED:
            raise PathUnknown
        return send_from_directory(str(ASSETS), filename)

    return swagger


def _document(document: dict[str, Any]) -> Callable[[], Response]:
    body = json.dumps(document).encode()
    return lambda: Response(body, content_type=JSON)


def _page(name: str, *, title: str) -> Callable[[], Response]:
    def page() -> Response:
        nonce = secrets.token_urlsafe(16)
        response = Response(
            render_template("swagger.html", title=title, shown=name, nonce=nonce),
            content_type="text/html; charset=utf-8",
        )
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self'; "
            "img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        return response

    return page
