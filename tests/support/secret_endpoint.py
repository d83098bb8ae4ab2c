"""An endpoint of the tests that answers with a secret: `POST /api/tests/v1/secrets`, under a permission."""

import itertools
import secrets
from typing import Annotated, Any

from flask import Blueprint, Flask
from flask_restx import Resource

from auth_service.api.contract import openapi
from auth_service.api.contract.endpoint import Api, Namespace
from auth_service.api.contract.operations import operations
from auth_service.api.http.schemas import ResponseModel, ShownOnce
from auth_service.api.security.authorization import permission
from auth_service.models.permission import Permission

BASE = "/api/tests"
namespace = Namespace("secrets")
_numbers = itertools.count(1)


class SecretResponse(ResponseModel):
    """A thing with a number and a secret, both new in each answer."""

    number: int
    secret: Annotated[str, ShownOnce()]


@namespace.route("/secrets")
class Secrets(Resource):
    """Things with a secret."""

    @namespace.contract(
        operation="create_secret",
        summary="Create a secret",
        access=permission(Permission.ROLES_WRITE),
        data=SecretResponse,
        status=201,
    )
    def post(self) -> SecretResponse:
        """Create a secret."""
        return SecretResponse(number=next(_numbers), secret=secrets.token_urlsafe(16))


def add_to(app: Flask) -> None:
    """Add the endpoint to an application that has answered no request yet."""
    blueprint = Blueprint("tests", __name__, url_prefix=BASE)
    api = Api(doc=False, add_specs=False)
    api.init_app(blueprint, add_specs=False)
    api.add_namespace(namespace, path="/v1")
    app.register_blueprint(blueprint)


def document() -> Any:
    """The OpenAPI document of the endpoint."""
    return openapi.document(
        operations([(namespace, "/v1")]),
        deployment=openapi.Deployment(service_name="Tests", shortest_password=8, production=False),
        description="",
        tags={},
    )
