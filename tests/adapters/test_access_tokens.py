"""The verifier of access tokens: yes to what we signed and is good now, no to anything else, and never a crash."""

import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_service.adapters.crypto import access_tokens
from auth_service.adapters.crypto.access_tokens import AccessTokens, KeySet, TokenRejected, Verified
from tests.support.forgery import Forger, decoded

KID, PRIVATE, PUBLIC = access_tokens.new_key()
RING = KeySet(
    signing_kid=KID, signing_key=access_tokens.private_key(PRIVATE), verifying={KID: access_tokens.public_key(PUBLIC)}
)
ISSUER, AUDIENCE = "https://portal.example.org", "portal"
SESSION = uuid.uuid4()


def tokens() -> AccessTokens:
    return AccessTokens(issuer=ISSUER, audience=AUDIENCE, lifetime=timedelta(minutes=15))


def signed(now: datetime | None = None) -> str:
    return tokens().sign(RING, user_id=7, session_id=SESSION, roles=["ROLE_PORTAL_USER"], now=now or datetime.now(UTC))


GOOD = signed()
FORGER = Forger(
    header=decoded(GOOD.split(".")[0]), claims=decoded(GOOD.split(".")[1]), key=access_tokens.private_key(PRIVATE)
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def verdict(token: str) -> access_tokens.Claims | None:
    try:
        return tokens().verify(token, RING)
    except TokenRejected:
        return None


@given(st.text() | st.text(alphabet="eyJ.-_A=0", max_size=400) | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_tk13_no_text_crashes_the_verifier(text: str) -> None:
    assert verdict(text) is None


@given(st.sampled_from([*FORGER.claims]), anything)
def test_tk13_odd_claims_that_are_well_signed_are_refused(name: str, value: Any) -> None:
    claims = verdict(FORGER.signed(FORGER.header, FORGER.claims | {name: value}))

    if claims is not None:  # another value of the very kind
        assert type(value) is type(FORGER.claims[name])
        assert name not in ("iss", "aud") or value == FORGER.claims[name]
        assert name != "roles" or all(isinstance(role, str) for role in value)


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "jwk", "b64", "x5u"]) | st.text(), anything))
def test_tk2_tk3_odd_headers_that_are_well_signed_are_refused(header: dict[str, Any]) -> None:
    assert verdict(FORGER.signed(header, FORGER.claims)) is None
    if header:
        assert verdict(FORGER.signed(FORGER.header | header, FORGER.claims)) is None


@given(anything)
def test_tk13_odd_contents_that_are_well_signed_are_refused(claims: Any) -> None:
    assert verdict(FORGER.signed(FORGER.header, json.dumps(claims))) is None


def test_a_remembered_token_says_the_same() -> None:
    verifier = tokens()

    assert verifier.verify(GOOD, RING) == verifier.verify(GOOD, RING)
    assert verifier.verify(GOOD, RING).user_id == 7


@pytest.mark.clock
def test_tk5_a_remembered_token_expires() -> None:
    verifier, signed_at = tokens(), datetime.now(UTC) - timedelta(minutes=15, seconds=27)
    token = signed(signed_at)
    verifier.verify(token, RING)

    give_up_at = time.monotonic() + 10
    while verifier._verified.claims(token, RING.verifying[KID]) is not None:
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
    assert datetime.now(UTC) >= signed_at + timedelta(minutes=15, seconds=29), "at the end of the leeway, not before"


def test_tk7_a_remembered_token_leaves_with_its_key() -> None:
    verifier = tokens()
    verifier.verify(GOOD, RING)
    other_kid, other_private, other_public = access_tokens.new_key()
    key = access_tokens.private_key(other_private)

    for verifying in (
        {other_kid: access_tokens.public_key(other_public)},
        {KID: access_tokens.public_key(other_public)},
    ):
        with pytest.raises(TokenRejected):
            verifier.verify(GOOD, KeySet(signing_kid=other_kid, signing_key=key, verifying=verifying))
    assert verifier.verify(GOOD, RING).session_id == SESSION


def test_no_refused_token_is_remembered_and_only_so_many_good_ones() -> None:
    verifier = tokens()
    with pytest.raises(TokenRejected):
        verifier.verify(FORGER.token(aud="other"), RING)
    assert verifier._verified._claims == {}

    few = Verified(at_most=3)
    claims = verifier.verify(GOOD, RING)
    for number in range(10):
        few.remember(f"token {number}", RING.verifying[KID], claims)
        assert len(few._claims) <= 3
    assert few.claims("token 9", RING.verifying[KID]) == claims
    assert few.claims("token 0", RING.verifying[KID]) is None
