"""Version 1 of the API: the page at /api/swagger and the namespaces under /api/v1."""

from flask import Blueprint

from auth_service.api.swagger import DocumentedApi
from auth_service.api.v1.registration import registration
from auth_service.settings import Settings


def blueprint(settings: Settings) -> Blueprint:
    """The versioned blueprint, made anew for each application."""
    made = Blueprint("api", __name__, url_prefix="/api")
    api = DocumentedApi(
        title=f"{settings.service_name}: authentication",
        description="Registers people by a mailed code and says who they are.",
        version="1",
        doc="/swagger",
        add_specs=settings.swagger_page,
    )
    api.init_app(made, add_specs=settings.swagger_page)
    api.add_namespace(registration, path="/v1/users")
    return made
