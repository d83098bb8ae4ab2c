"""Endpoint decorator: authorize, count rate limits, parse, run the view in one unit of work, render the response."""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec

import flask_restx
from flask import Response
from pydantic import BaseModel

from auth_service.api.contract.contract import Contract, Variant
from auth_service.api.contract.idempotency import keyed_request
from auth_service.api.http import parsing
from auth_service.api.http.responses import JSON, PageLink, bare_response, streamed_response, success_response
from auth_service.api.http.schemas import ResponseModel
from auth_service.api.security import csrf
from auth_service.api.security.authentication import Access, audit_denied
from auth_service.db import unit_of_work
from auth_service.errors import Forbidden, InsufficientUserAuthentication
from auth_service.services.idempotency import StoredAnswer

View = Callable[..., Any]
Decorator = Callable[[View], View]
Fields = ParamSpec("Fields")


def _decorator_with(
    make: Callable[Fields, Contract],
) -> Callable[Concatenate["Namespace", Fields], Decorator]:
    """Return the method `contract` with the parameters of `make`, so that mypy checks their names and types."""

    def contract(namespace: "Namespace", /, *args: Fields.args, **fields: Fields.kwargs) -> Decorator:
        return namespace.under(make(*args, **fields))

    return contract


class Api(flask_restx.Api):
    """The API of flask-restx without its error handler, documents and pages; `openapi` renders the documents."""

    def error_router(self, original_handler: Callable[[Exception], Any], e: Exception) -> Any:
        """Leave every error to the error handler of the application.

        flask-restx would match the route of the request first, which fails again for an invalid Host header.
        """
        return original_handler(e)

    def _register_doc(self, app_or_blueprint: Any) -> None:
        # flask-restx would add a route for the root, to which werkzeug would redirect with an HTML body.
        return

    def _register_apidoc(self, app: Any) -> None:
        # flask-restx would serve its own Swagger UI, of an old version. `api/pages/swagger.py` serves the current one.
        return


class Namespace(flask_restx.Namespace):
    """A flask-restx namespace whose views declare contracts."""

    contract = _decorator_with(Contract)
    """`@namespace.contract(…)` takes the fields of `Contract` by name."""

    def under(self, contract: Contract) -> Decorator:
        """Return a decorator that turns a view into an endpoint with this contract."""

        def decorate(view: View) -> View:
            of_view = replace(contract, is_unsafe=view.__name__.upper() not in csrf.SAFE_METHODS)

            @wraps(view)
            def endpoint(resource: Any, **arguments: Any) -> Response:
                variant = of_view.variant
                if variant is not None and _is_selected(variant):
                    return _respond(variant.contract, variant.view, resource, arguments)
                return _respond(of_view, view, resource, arguments)

            endpoint.contract = of_view  # type: ignore[attr-defined] # `operations` reads it
            return endpoint

        return decorate


def _is_selected(variant: Variant) -> bool:
    if variant.field is not None and parsing.body_has(variant.field):
        return True
    return parsing.preferred_media_type(JSON, *variant.media_types) in variant.media_types


def _respond(contract: Contract, view: View, resource: Any, arguments: dict[str, Any]) -> Response:
    """Answer one request.

    Authorization and rendering happen inside the unit of work. Authorization writes audit events, and a rendering that
    fails must roll back instead of committing behind an error response. A unit of work without statements is free.
    """
    with unit_of_work():
        _authorize(contract.access)
        for limit in contract.limits:
            limit.count()
        keyed = keyed_request(contract)
        if keyed is not None and (earlier := keyed.earlier_answer()) is not None:
            return Response(earlier.body, status=earlier.status, content_type=JSON)
        result = _result(contract, view, resource, arguments)
        response = _render(contract, result)
        if keyed is not None:
            # A secret is shown once: neither the row nor a repeated request gets it.
            stored = _render(contract, result, replayed=True) if contract.has_secrets else response
            keyed.save(StoredAnswer(status=stored.status_code, body=stored.get_data(as_text=True)))
        return response


def _authorize(access: Access) -> None:
    try:
        access.check()
        # After the authentication, so that the audit event of a forged request names the attacked user.
        csrf.check_origin()
    except Forbidden as error:
        audit_denied(error)
        raise
    except InsufficientUserAuthentication as error:
        if access.audits_step_up:
            audit_denied(error)
        raise


def _result(contract: Contract, view: View, resource: Any, arguments: dict[str, Any]) -> Any:
    """Run the view. An administrative service forbids by itself what depends on the target: privilege escalation."""
    try:
        return view(resource, **arguments, **_parse(contract))
    except Forbidden as error:
        if contract.access.permission is not None:
            audit_denied(error)
        raise


def _parse(contract: Contract) -> dict[str, BaseModel]:
    """Parse the request into keyword arguments of the view: `query`, `body` or `payload`."""
    if not (contract.query or contract.query_or_body or contract.ignores_query):
        parsing.reject_query()
    values: dict[str, BaseModel] = {}
    if contract.query:
        values["query"] = parsing.query(contract.query)
    if contract.body:
        values["body"] = (parsing.urlencoded if _is_form(contract) else parsing.body)(contract.body)
    if contract.query_or_body:
        values["payload"] = parsing.query_or_body(contract.query_or_body)
    return values


def _is_form(contract: Contract) -> bool:
    return contract.accepts_form and parsing.is_form()


def _render(contract: Contract, result: Any, *, replayed: bool = False) -> Response:
    """Render the response; `replayed` leaves out the secrets and says so."""
    if contract.streams:
        return streamed_response(result)
    data = _data(contract, result, replayed=replayed)
    if _is_form(contract) and data is not None:
        return bare_response(data)
    page = PageLink(next_cursor=result.next_cursor) if contract.items else None
    response = success_response(status=contract.status, data=data, done=contract.done, page=page, replayed=replayed)
    response.headers.extend([(name, value(result)) for name, value in contract.headers.items()])
    return response


def _data(contract: Contract, result: Any, *, replayed: bool) -> bytes | None:
    if contract.items:
        return b"[" + b",".join(_json(contract.items, item) for item in result.items) + b"]"
    return (
        _json(contract.data, result, exclude=contract.data.secrets() if replayed else None) if contract.data else None
    )


def _json(model: type[ResponseModel], value: Any, *, exclude: set[str] | None = None) -> bytes:
    return model.model_validate(value).as_json(exclude=exclude or set())
