"""Start page (`/` and `/docs`) of the profile `local`: redirects a developer to Swagger."""

from flask import Blueprint, Response, redirect
from werkzeug.wrappers import Response as AnyResponse

SWAGGER = "/api/swagger"


def blueprint() -> Blueprint:
    """Return the blueprint of the two redirects. Other profiles answer 404 there, as at every unknown path."""
    start = Blueprint("start", __name__)

    @start.get("/")
    @start.get("/docs")
    def to_swagger() -> AnyResponse:
        return redirect(SWAGGER, code=302, Response=Response)

    return start
