"""One decorator that makes a view an endpoint: guard, count, parse, run as one unit of work, render, document.

Whatever stands in the contract both happens and is shown on the Swagger page; there is no second place to say it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import flask_restx
from flask import Response
from pydantic import BaseModel

from auth_service.api import parsing, swagger
from auth_service.api.access import Access, signed_in, write_down_denial
from auth_service.api.cards import Card
from auth_service.api.envelope import Cursor, answer, plain
from auth_service.api.limits import PerClient
from auth_service.errors import (
    BodyNotJson,
    BodyTooLarge,
    ContentEncodingUnsupported,
    ContentTypeUnsupported,
    DatabaseAway,
    Forbidden,
    HttpRequestInvalid,
    Refusal,
    ServiceBusy,
    TooManyRequests,
    ValidationFailed,
)
from auth_service.models import unit_of_work

View = Callable[..., Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """What an endpoint takes, gives and refuses."""

    access: Access = signed_in
    """Silence is closed: an open door is a word in the diff."""
    query: type[BaseModel] | None = None
    ignores_query: bool = False
    """Whether a query string is no mistake: what asks here may pass on one that was meant for something else."""
    body: type[BaseModel] | None = None
    form_too: bool = False
    """Whether the body may also be a form, as libraries for a standard send it; the answer is then the card alone."""
    query_or_body: type[BaseModel] | None = None
    data: type[Card] | None = None
    items: type[Card] | None = None
    """What a list is made of; the view returns a `Page`."""
    headers: Mapping[str, Callable[[Any], str]] = field(default_factory=dict)
    """What the answer also says in headers, made from what the view returns."""
    done: bool = False
    status: int = 200
    limits: Sequence[PerClient] = ()
    refuses: Sequence[type[Refusal]] = ()

    def all_refusals(self) -> list[type[Refusal]]:
        """Every refusal that this endpoint can give, its own and those that follow from what it takes."""
        every: list[type[Refusal]] = [*self.refuses, *self.access.refuses, DatabaseAway, ServiceBusy]
        if self.body or self.query_or_body:
            every += [HttpRequestInvalid, BodyNotJson, BodyTooLarge, ContentTypeUnsupported, ContentEncodingUnsupported]
        every.append(ValidationFailed)
        if self.limits:
            every.append(TooManyRequests)
        return list(dict.fromkeys(every))

    def carry_out(self, view: View, resource: Any, arguments: dict[str, Any]) -> Response:
        """Answer one request. Rendering happens inside the unit of work, so that an answer is never half true.

        So does finding out who calls, which asks the same database; a unit of work that writes nothing costs nothing.
        """
        with unit_of_work():
            self._let_in()
            for limit in self.limits:
                limit.count()
            made = view(resource, **arguments, **self._parsed())
            return self._rendered(made)

    def _let_in(self) -> None:
        try:
            self.access.check()
        except Forbidden as denied:
            write_down_denial(denied)
            raise

    def _parsed(self) -> dict[str, Any]:
        if not (self.query or self.query_or_body or self.ignores_query):
            parsing.no_query()
        return {
            name: read(form)
            for name, read, form in (
                ("query", parsing.query, self.query),
                ("body", parsing.urlencoded if self._is_form() else parsing.body, self.body),
                ("given", parsing.query_or_body, self.query_or_body),
            )
            if form is not None
        }

    def _is_form(self) -> bool:
        return self.form_too and parsing.is_form()

    def _rendered(self, made: Any) -> Response:
        data = self._data(made)
        if self._is_form() and data is not None:
            return plain(data)
        said = answer(status=self.status, data=data, done=self.done, page=self._page(made))
        said.headers.extend([(name, value(made)) for name, value in self.headers.items()])
        return said

    def _data(self, made: Any) -> bytes | None:
        if self.items:
            return b"[" + b",".join(_json(self.items, item) for item in made.items) + b"]"
        return _json(self.data, made) if self.data else None

    def _page(self, made: Any) -> Cursor | None:
        return Cursor(following=made.next_cursor) if self.items else None


def _json(card: type[Card], made: Any) -> bytes:
    return card.model_validate(made).model_dump_json(exclude_none=card.leaves_out_none).encode()


class Namespace(flask_restx.Namespace):
    """A namespace whose views state their contracts."""

    def contract(self, **terms: Any) -> Callable[[View], View]:
        """Make a view an endpoint under a `Contract` of these terms."""
        contract = Contract(**terms)

        def decorated(view: View) -> View:
            @wraps(view)
            def endpoint(resource: Any, **arguments: Any) -> Response:
                return contract.carry_out(view, resource, arguments)

            endpoint.contract = contract  # type: ignore[attr-defined] # the tests of the house read it
            return swagger.documented(self, endpoint, contract)

        return decorated
