"""Access token verification: valid tokens of the service are accepted, all others rejected without an exception."""

import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_service.adapters.crypto import access_tokens
from auth_service.adapters.crypto.access_tokens import (
    AccessTokens,
    KeySet,
    TokenOutdated,
    TokenRejected,
    VerifiedTokens,
)
from tests.support.forgery import Forger, decoded

KID, PRIVATE, PUBLIC = access_tokens.new_key()
RING = KeySet(
    signing_kid=KID, signing_key=access_tokens.private_key(PRIVATE), verifying={KID: access_tokens.public_key(PUBLIC)}
)
ISSUER, AUDIENCE = "https://portal.example.org", "portal"
SESSION = uuid.uuid4()


def tokens(*, lifetime: timedelta = timedelta(minutes=15)) -> AccessTokens:
    return AccessTokens(issuer=ISSUER, audience=AUDIENCE, lifetime=lifetime)


def signed(now: datetime, *, by: AccessTokens) -> str:
    return by.sign(RING, user_id=7, session_id=SESSION, roles=["ROLE_PORTAL_USER"], auth_time=now, acr="aal1", now=now)


VALID = signed(datetime.now(UTC), by=tokens(lifetime=timedelta(days=1)))
"""A token that outlives the test run."""
FORGER = Forger(
    header=decoded(VALID.split(".")[0]), claims=decoded(VALID.split(".")[1]), key=access_tokens.private_key(PRIVATE)
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def claims_or_none(token: str) -> access_tokens.Claims | None:
    try:
        return tokens().verify(token, RING)
    except TokenRejected:
        return None


@given(st.text() | st.text(alphabet="eyJ.-_A=0", max_size=400) | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_tk13_no_text_crashes_the_verifier(text: str) -> None:
    assert claims_or_none(text) is None


@given(st.sampled_from([*FORGER.claims]), anything)
def test_tk13_malformed_claims_with_a_valid_signature_are_rejected(name: str, value: Any) -> None:
    claims = claims_or_none(FORGER.signed(FORGER.header, FORGER.claims | {name: value}))

    if claims is not None:  # another valid value of this claim
        assert type(value) is type(FORGER.claims[name])
        assert name not in ("iss", "aud") or value == FORGER.claims[name]
        assert name != "roles" or all(isinstance(role, str) for role in value)


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "jwk", "b64", "x5u"]) | st.text(), anything))
def test_tk2_tk3_malformed_headers_with_a_valid_signature_are_rejected(header: dict[str, Any]) -> None:
    assert claims_or_none(FORGER.signed(header, FORGER.claims)) is None
    if header:
        assert claims_or_none(FORGER.signed(FORGER.header | header, FORGER.claims)) is None


@given(anything)
def test_tk13_malformed_payloads_with_a_valid_signature_are_rejected(claims: Any) -> None:
    assert claims_or_none(FORGER.signed(FORGER.header, json.dumps(claims))) is None


def test_a_cached_token_has_the_same_claims() -> None:
    verifier = tokens()

    assert verifier.verify(VALID, RING) == verifier.verify(VALID, RING)
    assert verifier.verify(VALID, RING).user_id == 7


@pytest.mark.clock
def test_tk5_a_cached_token_expires() -> None:
    verifier, signed_at = tokens(), datetime.now(UTC) - timedelta(minutes=15, seconds=27)
    token = signed(signed_at, by=verifier)
    verifier.verify(token, RING)

    give_up_at = time.monotonic() + 10
    while verifier._verified.claims(token, RING.verifying[KID]) is not None:
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
    assert datetime.now(UTC) >= signed_at + timedelta(minutes=15, seconds=29), "at the end of the leeway, not before"
    with pytest.raises(TokenOutdated):
        verifier.verify(token, RING)


def test_tk7_a_cached_token_is_rejected_when_its_key_is_removed() -> None:
    verifier = tokens()
    verifier.verify(VALID, RING)
    other_kid, other_private, other_public = access_tokens.new_key()
    key = access_tokens.private_key(other_private)

    for verifying in (
        {other_kid: access_tokens.public_key(other_public)},
        {KID: access_tokens.public_key(other_public)},
    ):
        with pytest.raises(TokenRejected):
            verifier.verify(VALID, KeySet(signing_kid=other_kid, signing_key=key, verifying=verifying))
    assert verifier.verify(VALID, RING).session_id == SESSION


def test_rejected_tokens_are_not_cached_and_the_cache_of_valid_tokens_is_bounded() -> None:
    verifier = tokens()
    with pytest.raises(TokenRejected):
        verifier.verify(FORGER.token(aud="other"), RING)
    assert verifier._verified._claims == {}

    few = VerifiedTokens(at_most=3)
    claims = verifier.verify(VALID, RING)
    for number in range(10):
        few.remember(f"token {number}", RING.verifying[KID], claims)
        assert len(few._claims) <= 3
    assert few.claims("token 9", RING.verifying[KID]) == claims
    assert few.claims("token 0", RING.verifying[KID]) is None
