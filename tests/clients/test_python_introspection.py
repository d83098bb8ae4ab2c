"""Python verifier with introspection: current permissions, revoked sessions, useless answers."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from auth_service.models import PORTAL_ADMIN
from auth_service_verifier import (
    ConfigurationError,
    InsufficientUserAuthentication,
    IntrospectionUnavailable,
    PermissionMissing,
    TokenInvalid,
    TokenRevoked,
    Verifier,
)
from tests.support.actors import ApiClient, Mailbox
from tests.support.administration import Administration
from tests.support.forgery import Forger, decoded
from tests.support.scripted_server import ScriptedServer

OF_THE_SERVICE = "svc_0123456789ab_a"


@pytest.fixture
def administration(app: Flask, mailbox: Mailbox) -> Administration:
    return Administration(app, mailbox)


def token_of(client: Any) -> str:
    """The access token of a client."""
    return str(client.headers["Authorization"].partition(" ")[2])


def test_a_permission_is_decided_by_the_current_roles(
    introspecting: Callable[..., Verifier], administration: Administration
) -> None:
    verifier = introspecting()
    editor = administration.with_permissions("editor@example.org", "films:edit")
    token = token_of(editor)

    verified = verifier.verify(token, permission="films:edit")
    assert (verified.user_id, verified.permissions) == (editor.user_id, frozenset({"films:edit"}))
    assert "ROLE_OF_EDITOR" in verified.roles
    with pytest.raises(PermissionMissing) as caught:
        verifier.verify(token, permission="films:delete")
    assert (caught.value.status, caught.value.headers()) == (403, {})
    assert caught.value.body()["permission"] == "films:delete"

    administration.role("ROLE_OF_FILMS", "films:delete")
    assert editor.user_id is not None
    administration.grant(editor.user_id, "ROLE_OF_FILMS")
    assert "ROLE_OF_FILMS" in verifier.verify(token, permission="films:delete").roles, "with the same token"


def test_administrators_have_every_permission(
    introspecting: Callable[..., Verifier], administration: Administration
) -> None:
    token = token_of(administration.administrator())

    assert PORTAL_ADMIN in introspecting().verify(token, permission="films:edit").roles


def test_introspection_refuses_a_token_of_a_revoked_session(
    introspecting: Callable[..., Verifier], verifier: Verifier, administration: Administration, api: ApiClient
) -> None:
    token = token_of(administration.with_permissions("editor@example.org", "films:edit"))
    assert api.with_token(token, "POST", "/sign_out").status_code == 200

    with pytest.raises(TokenRevoked) as caught:
        introspecting().verify(token, permission="films:edit")
    assert (caught.value.status, caught.value.code) == (401, "token_invalid")
    verifier.verify(token)  # Locally, until it expires.


def test_a_permission_is_checked_before_the_authentication(
    introspecting: Callable[..., Verifier], token: str, administration: Administration
) -> None:
    verifier = introspecting()
    with pytest.raises(PermissionMissing):
        verifier.verify(token, permission="films:edit", acr="aal2")
    editor = token_of(administration.with_permissions("editor@example.org", "films:edit"))
    with pytest.raises(InsufficientUserAuthentication):
        verifier.verify(editor, permission="films:edit", acr="aal2")


def test_a_service_key_that_is_not_accepted_is_an_error_of_configuration(
    introspecting: Callable[..., Verifier], token: str, address: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"401 service_key_invalid: .*tokens:introspect"):
        introspecting(key="svc_0123456789ab_" + "x" * 43).verify(token, permission="films:edit")
    with pytest.raises(ConfigurationError, match="403 scope_missing"):
        introspecting("sessions:verify").verify(token, permission="films:edit")
    with pytest.raises(ConfigurationError, match="404 path_unknown: check introspection_url"):
        introspecting(url=f"{address}/nothing").verify(token, permission="films:edit")


def test_a_forged_token_is_not_sent_to_introspection(
    introspecting: Callable[..., Verifier], forger: Forger, endpoint: ScriptedServer
) -> None:
    verifier = introspecting(url=endpoint.url, key=OF_THE_SERVICE)
    for forged in ("x", forger.token(aud="other"), forger.token(exp=1)):
        with pytest.raises(TokenInvalid):
            verifier.verify(forged, permission="films:edit")

    assert endpoint.requests == []


def test_introspection_sends_the_token_in_the_body_and_the_key_in_a_header(
    introspecting: Callable[..., Verifier], token: str, endpoint: ScriptedServer
) -> None:
    with pytest.raises(TokenRevoked):
        introspecting(url=endpoint.url, key=f"{OF_THE_SERVICE}\n").verify(token, permission="films:edit")

    [(path, headers, body)] = endpoint.requests
    assert (path, headers["Authorization"]) == ("/answer", f"Bearer {OF_THE_SERVICE}")
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert body.decode() == f"token={token}&token_type_hint=access_token"


def test_useless_answers_of_introspection_are_no_authorization(
    introspecting: Callable[..., Verifier], token: str, endpoint: ScriptedServer
) -> None:
    claims = decoded(token.split(".")[1])
    active = {
        "active": True,
        "sub": claims["sub"],
        "sid": claims["sid"],
        "roles": [],
        "permissions": ["films:edit"],
    }
    verifier = introspecting(url=endpoint.url, key=OF_THE_SERVICE)
    endpoint.answer_with(active)
    assert verifier.verify(token, permission="films:edit").permissions == frozenset({"films:edit"})

    useless: list[Any] = [
        [],
        b"<html>",
        {**active, "sub": "1"},
        {**active, "sid": str(uuid.uuid4())},
        {**active, "permissions": "films:edit"},
        {**active, "permissions": [["films:edit"]]},
        {**active, "roles": None},
    ]
    for answer in useless:
        endpoint.answer_with(answer)
        with pytest.raises(IntrospectionUnavailable):
            verifier.verify(token, permission="films:edit")
    for status in (302, 429, 500, 503):
        endpoint.answer_with(active, status=status, Location=endpoint.url)
        with pytest.raises(IntrospectionUnavailable) as caught:
            verifier.verify(token, permission="films:edit")
        assert (caught.value.status, caught.value.headers()) == (503, {"Retry-After": "1"})
    for inactive in ("true", 1, None, False):
        endpoint.answer_with({**active, "active": inactive})
        with pytest.raises(TokenRevoked):
            verifier.verify(token, permission="films:edit")
