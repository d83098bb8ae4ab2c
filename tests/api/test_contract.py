"""Endpoint contracts: their fields are checked by mypy and at run time; rate limits come from the named settings."""

from collections.abc import Callable

import pytest
from flask import Flask

from auth_service.api.contract.endpoint import Namespace
from auth_service.api.security import rate_limits as limits
from auth_service.api.security.rate_limits import ClientRateLimit
from auth_service.errors import CrossSite, TokenExpired, TokenInvalid, TokenMissing
from auth_service.settings import Settings
from tests.support.contracts import contracts


def test_a_misspelt_or_missing_field_of_a_contract_raises_a_type_error() -> None:
    """mypy rejects these lines too, otherwise it would report an unused `type: ignore`."""
    namespace = Namespace("test")

    with pytest.raises(TypeError, match="sumary"):
        namespace.contract(sumary="List the users")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="summary"):
        namespace.contract(status=201)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        namespace.contract("List the users")  # type: ignore[call-arg]


RATE_LIMITS = [limit for limit in vars(limits).values() if isinstance(limit, ClientRateLimit)]


@pytest.mark.parametrize("limit", RATE_LIMITS, ids=lambda limit: limit.name)
def test_a_rate_limit_has_the_name_and_the_rate_of_one_setting(
    make_settings: Callable[..., Settings], limit: ClientRateLimit
) -> None:
    settings = make_settings(**{limit.name: "7/3m"})

    assert limit.rate(settings).text == "7/3m"


def test_every_rate_limit_has_its_own_name() -> None:
    names = [limit.name for limit in RATE_LIMITS]

    assert len(names) == 14
    assert len(set(names)) == len(names)


def test_every_rule_that_takes_a_token_declares_the_errors_of_tokens(app: Flask) -> None:
    for method, rule, contract in contracts(app):
        if contract is not None and contract.access.needs_token:
            assert {TokenMissing, TokenExpired, TokenInvalid, CrossSite} <= set(contract.access.errors), (method, rule)
