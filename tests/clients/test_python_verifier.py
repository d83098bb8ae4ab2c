"""Python verifier of access tokens: forged tokens, step-up, permissions by introspection, wrong configuration."""

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask

from auth_service.adapters.crypto.access_tokens import KeySet
from auth_service.models import PORTAL_ADMIN
from auth_service_verifier import (
    AccessToken,
    ConfigurationError,
    InsufficientUserAuthentication,
    IntrospectionUnavailable,
    KeysUnavailable,
    PermissionMissing,
    TokenExpired,
    TokenInvalid,
    TokenMissing,
    TokenRevoked,
    VerificationError,
    Verifier,
)
from auth_service_verifier.verifier import bearer_token
from tests.support.actors import ApiClient, Mailbox
from tests.support.administration import Administration
from tests.support.forgery import Forger, decoded, forged_tokens
from tests.support.live import Live
from tests.support.scripted_server import ScriptedServer
from tests.support.service_client import made_key
from tests.support.verifiers import ISSUER, free_port

AUDIENCE = "portal"
OF_THE_SERVICE = "svc_0123456789ab_a"


@pytest.fixture
def address(live: Live) -> str:
    """The address of the running service."""
    return f"http://127.0.0.1:{live.port}"


@pytest.fixture
def verifier(address: str) -> Verifier:
    return Verifier(f"{address}/.well-known/jwks.json", ISSUER, AUDIENCE)


@pytest.fixture
def introspecting(app: Flask, address: str) -> Callable[..., Verifier]:
    """Makes verifiers with a service key of these scopes."""

    def make(*scopes: str, key: str | None = None, url: str | None = None) -> Verifier:
        return Verifier(
            f"{address}/.well-known/jwks.json",
            ISSUER,
            AUDIENCE,
            introspection_url=url or f"{address}/api/v1/tokens/introspect",
            service_key=key or made_key(app, *(scopes or ("tokens:introspect",))).value,
        )

    return make


@pytest.fixture
def forger(token: str, key_set: KeySet) -> Forger:
    """A forger with the real signing key, so that each rejection is due to the contents of the token."""
    header, claims, _ = token.split(".")
    return Forger(header=decoded(header), claims=decoded(claims), key=key_set.signing_key)


def test_oa6_a_token_of_the_service_is_accepted(verifier: Verifier, token: str, ada: int) -> None:
    now = datetime.now(UTC)

    verified = verifier.verify(token)

    claims = decoded(token.split(".")[1])
    assert verified == AccessToken(
        user_id=ada,
        session_id=uuid.UUID(claims["sid"]),
        token_id=claims["jti"],
        roles=("ROLE_PORTAL_USER",),
        issued_at=datetime.fromtimestamp(claims["iat"], UTC),
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        auth_time=datetime.fromtimestamp(claims["auth_time"], UTC),
        acr="aal1",
        permissions=None,
    )
    assert 0 <= (now - verified.issued_at).total_seconds() < 60
    assert (verified.expires_at - verified.issued_at).total_seconds() == 900


def test_oa6_every_forged_token_is_rejected(verifier: Verifier, forger: Forger, live: Live) -> None:
    verifier.verify(forger.token())
    jwks = live.request("GET", "/.well-known/jwks.json").body

    accepted, count = [], 0
    for name, forged in forged_tokens(forger, jwks):
        count += 1
        try:
            verifier.verify(forged)
        except TokenInvalid:
            continue
        accepted.append(name)

    assert accepted == []
    assert count > 700


@pytest.mark.clock
def test_oa6_clocks_may_differ_by_half_a_minute(verifier: Verifier, forger: Forger) -> None:
    for claim, near, far, error in (
        ("exp", -28, -31, TokenExpired),
        ("nbf", 29, 33, TokenInvalid),
        ("iat", 29, 33, TokenInvalid),
    ):
        now = int(time.time())
        verifier.verify(forger.token(**{claim: now + near}))
        with pytest.raises(TokenInvalid) as caught:
            verifier.verify(forger.token(**{claim: now + far}))
        assert type(caught.value) is error, claim


def test_an_expired_token_that_is_also_forged_is_not_called_expired(verifier: Verifier, forger: Forger) -> None:
    for claims in ({"iss": "https://evil.example"}, {"aud": "other"}, {"sub": None}):
        with pytest.raises(TokenInvalid) as caught:
            verifier.verify(forger.token(exp=int(time.time()) - 3600, **claims))
        assert caught.value.code == "token_invalid"


def test_tokens_of_a_release_without_levels_satisfy_no_requirement(verifier: Verifier, forger: Forger) -> None:
    old = forger.token(acr=..., auth_time=...)

    assert (verifier.verify(old).acr, verifier.verify(old).auth_time) == (None, None)
    for required in ({"acr": "aal1"}, {"max_age": 3600}):
        with pytest.raises(InsufficientUserAuthentication):
            verifier.verify(old, **required)


@pytest.mark.parametrize(
    ("acr", "required", "is_enough"),
    [
        ("aal1", "aal1", True),
        ("aal2", "aal1", True),
        ("aal2", "aal2", True),
        ("aal1", "aal2", False),
        ("aal3", "aal1", False),
        ("", "aal1", False),
    ],
)
def test_an_endpoint_can_require_an_authentication_level(
    verifier: Verifier, forger: Forger, acr: str, required: str, is_enough: bool
) -> None:
    token = forger.token(acr=acr)
    if is_enough:
        assert verifier.verify(token, acr=required).acr == acr
        return

    with pytest.raises(InsufficientUserAuthentication) as caught:
        verifier.verify(token, acr=required)
    error = caught.value
    assert (error.status, error.code) == (401, "insufficient_user_authentication")
    assert error.headers() == {
        "WWW-Authenticate": f'Bearer error="insufficient_user_authentication", acr_values="{required}"'
    }
    assert error.body() == {"code": error.code, "msg": error.message, "acr_values": required}


@pytest.mark.clock
def test_an_endpoint_can_require_a_recent_authentication(verifier: Verifier, forger: Forger) -> None:
    def signed_in_before(seconds: int) -> str:
        return forger.token(auth_time=int(time.time()) - seconds)

    verifier.verify(signed_in_before(625), max_age=600)  # with the leeway for clocks
    verifier.verify(signed_in_before(0), max_age=0)
    for age, max_age in ((632, 600), (32, 0)):
        with pytest.raises(InsufficientUserAuthentication) as caught:
            verifier.verify(signed_in_before(age), max_age=max_age)
        assert f'max_age="{max_age}"' in caught.value.headers()["WWW-Authenticate"]
        assert caught.value.body()["max_age"] == max_age


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


def test_unavailable_keys_are_503_instead_of_401(forger: Forger) -> None:
    verifier = Verifier(f"http://127.0.0.1:{free_port()}/jwks", ISSUER, AUDIENCE)

    with pytest.raises(KeysUnavailable) as caught:
        verifier.verify(forger.token())
    assert (caught.value.status, caught.value.headers()) == (503, {"Retry-After": "1"})
    with pytest.raises(TokenInvalid):
        verifier.verify("x")


URL = "https://portal.example.org/jwks"
BOTH = {"introspection_url": "https://portal.example.org/introspect", "service_key": OF_THE_SERVICE}


@pytest.mark.parametrize(
    ("arguments", "named", "message"),
    [
        ((URL, "", AUDIENCE), {}, "issuer, audience"),
        ((URL, ISSUER, ""), {}, "issuer, audience"),
        (("", ISSUER, AUDIENCE), {}, "jwks_url: "),
        (("portal.example.org/jwks", ISSUER, AUDIENCE), {}, "jwks_url: "),
        (("file:///etc/passwd", ISSUER, AUDIENCE), {}, "jwks_url: "),
        (("http://[::1", ISSUER, AUDIENCE), {}, "jwks_url: "),
        ((URL, ISSUER, AUDIENCE), {**BOTH, "introspection_url": "ftp://portal.example.org"}, "introspection_url: "),
        ((URL, ISSUER, AUDIENCE), {"introspection_url": URL}, "introspection_url, service_key: "),
        ((URL, ISSUER, AUDIENCE), {"service_key": OF_THE_SERVICE}, "introspection_url, service_key: "),
        ((URL, ISSUER, AUDIENCE), {**BOTH, "service_key": ""}, "service_key: "),
        ((URL, ISSUER, AUDIENCE), {**BOTH, "service_key": "a\r\nX-Header: b"}, "service_key: "),
    ],
)
def test_wrong_settings_are_found_at_the_start(
    arguments: tuple[str, str, str], named: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^{message}") as caught:
        Verifier(*arguments, **named)
    assert "X-Header" not in str(caught.value)


@pytest.mark.parametrize(
    ("required", "named", "message"),
    [
        ({"permission": "films:edit"}, {}, "permission: pass introspection_url and service_key"),
        ({"permission": ""}, BOTH, "permission: name one"),
        ({"acr": "aal3"}, {}, "acr: use one of aal1, aal2"),
        ({"acr": ""}, {}, "acr: "),
        ({"max_age": -1}, {}, "max_age: "),
        ({"max_age": 1.5}, {}, "max_age: "),
        ({"max_age": True}, {}, "max_age: "),
    ],
)
def test_wrong_requirements_are_errors_of_configuration(
    required: dict[str, Any], named: dict[str, str], message: str
) -> None:
    verifier = Verifier(URL, ISSUER, AUDIENCE, **named)

    for call in (lambda: verifier.verify("x", **required), lambda: verifier.requirements(**required)):
        with pytest.raises(ConfigurationError, match=f"^{message}"):
            call()


def test_the_bearer_token_of_a_header() -> None:
    for header in ("Bearer x", "bearer x", "BEARER  x ", " Bearer x"):
        assert bearer_token(header) == "x"
    for missing in (None, "", " "):
        with pytest.raises(TokenMissing) as caught:
            bearer_token(missing)
        assert caught.value.headers() == {"WWW-Authenticate": "Bearer"}
    for other in ("Basic x", "x", "BearerX x", "Token x"):
        with pytest.raises(TokenInvalid):
            bearer_token(other)


def test_errors_name_neither_token_nor_key(
    verifier: Verifier, introspecting: Callable[..., Verifier], token: str, endpoint: ScriptedServer
) -> None:
    endpoint.answer_with({"error": token}, status=500)
    asking = introspecting(url=endpoint.url, key=OF_THE_SERVICE)
    for each, presented, permission in ((verifier, token[:-3], None), (asking, token, "films:edit")):
        with pytest.raises(VerificationError) as caught:
            each.verify(presented, permission=permission)
        shown = f"{caught.value!r} {caught.value.body()} {caught.value.headers()}"
        assert token[:30] not in shown
        assert OF_THE_SERVICE not in shown
    assert OF_THE_SERVICE not in repr(vars(asking))
