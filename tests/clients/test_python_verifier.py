"""Python verifier of access tokens: forged tokens, step-up, permissions by introspection, wrong configuration."""

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from auth_service_verifier import (
    AccessToken,
    ConfigurationError,
    InsufficientUserAuthentication,
    KeysUnavailable,
    TokenExpired,
    TokenInvalid,
    TokenMissing,
    VerificationError,
    Verifier,
)
from auth_service_verifier.verifier import bearer_token
from tests.support.forgery import Forger, decoded, forged_tokens
from tests.support.live import Live
from tests.support.scripted_server import ScriptedServer
from tests.support.verifiers import ISSUER, free_port

AUDIENCE = "portal"
OF_THE_SERVICE = "svc_0123456789ab_a"


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
    arguments: tuple[str, str, str], named: dict[str, Any], message: str
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
    required: dict[str, Any], named: dict[str, Any], message: str
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
