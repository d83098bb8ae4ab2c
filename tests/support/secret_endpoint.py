"""An endpoint of the tests that answers with a secret: `POST /api/tests/v1/secrets`, under a permission."""

import itertools
import secrets
from typing import Annotated

from flask import Blueprint, Flask
from flask_restx import Resource

from auth_service.api.contract.endpoint import Namespace
from auth_service.api.contract.swagger import DocumentedApi
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
        summary="Create a secret", access=permission(Permission.ROLES_WRITE), data=SecretResponse, status=201
    )
    def post(self) -> SecretResponse:
        """Create a secret."""
        return SecretResponse(number=next(_numbers), secret=secrets.token_urlsafe(16))


def add_to(app: Flask) -> DocumentedApi:
    """Add the endpoint to an application that has answered no request yet."""
    blueprint = Blueprint("tests", __name__, url_prefix=BASE)
    api = DocumentedApi(shortest_password=8, title="Tests", version="1", doc=False)
    api.init_app(blueprint, add_specs=True)
    api.add_namespace(namespace, path="/v1")
    app.register_blueprint(blueprint)
    return api
