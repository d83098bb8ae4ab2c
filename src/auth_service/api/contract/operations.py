"""Operations of the API: path, method and contract of every documented endpoint, for OpenAPI 3.1 and Swagger 2.0."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import flask_restx

from auth_service.api.contract.contract import Contract
from auth_service.api.contract.idempotency import DESCRIPTION, IDEMPOTENCY_KEY, accepts_key
from auth_service.api.http.parsing import ROLE_NAME
from auth_service.api.http.responses import status_of
from auth_service.api.security.authentication import TOKEN_HEADER
from auth_service.api.security.csrf import CSRF_HEADER
from auth_service.errors import PathUnknown, ServiceError

CSRF_DESCRIPTION = "Any non-empty value. Required where cookies authenticate the request or are to be set (CSRF check)."

OPTIONAL_KEY = "A service key, which is not required. `Authorization` can carry it, too."

LARGEST_ID = 2**53 - 1
"""The largest integer that every JSON parser reads exactly."""

PATH_PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "user_id": {"type": "integer", "format": "int64", "minimum": 1, "maximum": LARGEST_ID},
    "uuid": {"type": "string", "format": "uuid"},
    ROLE_NAME: {"type": "string", "pattern": "^ROLE_[A-Z0-9_]{1,59}$", "examples": ["ROLE_EDITOR"]},
}
"""The schemas of path parameters, by URL converter."""

CONVERTER = re.compile(r"<(?:(?P<converter>\w+):)?(?P<name>\w+)>")

ErrorsByStatus = Mapping[int, list[type[ServiceError]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One method of one path, with its contract."""

    tag: str
    rule: str
    """The path as Flask reads it."""
    method: str
    contract: Contract

    @property
    def path(self) -> str:
        """The path as the documents have it, with parameters in braces."""
        return CONVERTER.sub(r"{\g<name>}", self.rule)

    @property
    def path_parameters(self) -> dict[str, Mapping[str, Any]]:
        """The parameters in the path: name and schema."""
        return {
            match["name"]: PATH_PARAMETERS.get(match["converter"] or "", {"type": "string"})
            for match in CONVERTER.finditer(self.rule)
        }

    @property
    def request_headers(self) -> dict[str, str]:
        """The request headers apart from those of security schemes: name and description."""
        csrf = {CSRF_HEADER: CSRF_DESCRIPTION} if self.contract.needs_csrf_header else {}
        key = {IDEMPOTENCY_KEY: DESCRIPTION} if accepts_key(self.contract, self.method) else {}
        access = self.contract.access
        optional_key = {TOKEN_HEADER: OPTIONAL_KEY} if access.takes_service_key and access.is_open else {}
        return {**csrf, **key, **optional_key, **access.headers}

    @property
    def errors(self) -> ErrorsByStatus:
        """The errors of the operation by HTTP status. A malformed id in the path belongs to no route."""
        return by_status([*self.contract.all_errors(), *([PathUnknown] if self.path_parameters else [])])


def by_status(errors: Iterable[type[ServiceError]]) -> ErrorsByStatus:
    """Return errors grouped by HTTP status, the statuses in ascending order."""
    grouped: dict[int, list[type[ServiceError]]] = defaultdict(list)
    for error in errors:
        grouped[status_of(error)].append(error)
    return dict(sorted(grouped.items()))


def operations(namespaces: Iterable[tuple[flask_restx.Namespace, str]]) -> Iterator[Operation]:
    """Yield the documented operations of namespaces with their paths, in the order of their routes."""
    for namespace, prefix in namespaces:
        for resource, urls, documentation, _ in namespace.resources:
            if documentation is False:  # `doc=False` of a route: a second path of the same operation
                continue
            for url in urls:
                for method in sorted(resource.methods, key=METHODS.index):
                    contract = getattr(resource, method.lower()).contract
                    yield Operation(tag=namespace.name, rule=prefix + url, method=method, contract=contract)


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
