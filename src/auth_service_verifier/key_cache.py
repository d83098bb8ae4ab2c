"""Cache of the signing keys (JWKS, RFC 7517): key rotation, unknown key ids, outages of the endpoint."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from auth_service_verifier.errors import KeysUnavailable, TokenInvalid
from auth_service_verifier.network import TIME_LIMIT, RequestFailed, fetch_json

log = logging.getLogger(__name__)

FRESH = 300.0
"""Seconds for which the keys are used without another request: `max-age` of the endpoint."""
UNKNOWN_KID_INTERVAL = 30.0
"""Shortest time between two requests that unknown key ids cause: an attacker can send tokens with random ids."""
RETRY_INTERVAL = 5.0
"""Shortest time between two requests while they fail."""
LONGEST_OUTAGE = 3600.0
"""Seconds for which cached keys are used while the endpoint is down: the longest use of a revoked key."""


class KeyCache:
    """The public keys by key id. Threads share it; one of them sends a request, and only if one is due."""

    def __init__(
        self, url: str, *, time_limit: float = TIME_LIMIT, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`url` is the address of the JWKS; `monotonic` is the clock."""
        self._url = url
        self._time_limit = time_limit
        self._monotonic = monotonic
        self._fetching = threading.Lock()
        self._keys: Mapping[str, EllipticCurvePublicKey] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._has_failed = False

    def key(self, kid: str) -> EllipticCurvePublicKey:
        """Return the key with this id. Raises TokenInvalid for an unknown id, and KeysUnavailable."""
        if (key := self._cached(kid, not_older_than=FRESH)) is not None:
            return key
        # While another thread fetches, a key of the cache is good enough; without one this thread waits for the answer.
        if self._fetching.acquire(blocking=kid not in self._keys):
            try:
                if self._is_due():
                    self._fetch()
            finally:
                self._fetching.release()
        if (key := self._cached(kid, not_older_than=LONGEST_OUTAGE)) is not None:
            return key
        if self._has_failed:
            raise KeysUnavailable("the signing keys cannot be fetched")
        raise TokenInvalid("unknown key")

    def _cached(self, kid: str, *, not_older_than: float) -> EllipticCurvePublicKey | None:
        return self._keys.get(kid) if self._monotonic() - self._fetched_at < not_older_than else None

    def _is_due(self) -> bool:
        interval = RETRY_INTERVAL if self._has_failed else UNKNOWN_KID_INTERVAL
        return self._monotonic() - self._tried_at >= interval

    def _fetch(self) -> None:
        try:
            self._keys = _usable_keys(fetch_json(self._url, time_limit=self._time_limit))
        except (RequestFailed, ValueError) as failure:
            self._has_failed = True
            log.warning("the signing keys cannot be fetched from %s: %s", self._url, failure)
        else:
            self._has_failed = False
            self._fetched_at = self._monotonic()
        finally:
            self._tried_at = self._monotonic()


def _usable_keys(jwks: Any) -> dict[str, EllipticCurvePublicKey]:
    """Return the ES256 keys of a JWK set and ignore all others (RFC 7517, 5). Raises ValueError if none remains.

    An answer without keys is an error of the endpoint: it must not empty the cache.
    """
    members = jwks.get("keys") if isinstance(jwks, dict) else None
    keys = {}
    for jwk in members if isinstance(members, list) else []:
        if isinstance(jwk, dict) and isinstance(jwk.get("kid"), str) and (key := _es256_key(jwk)) is not None:
            keys[jwk["kid"]] = key
    if not keys:
        raise ValueError("the answer has no ES256 key")
    return keys


def _es256_key(jwk: dict[str, Any]) -> EllipticCurvePublicKey | None:
    purpose = [jwk.get("kty"), jwk.get("crv"), jwk.get("alg", "ES256"), jwk.get("use", "sig")]
    if purpose != ["EC", "P-256", "ES256", "sig"]:
        return None
    try:
        key = PyJWK(jwk, algorithm="ES256").key
    except (PyJWTError, ValueError, TypeError):
        return None
    return key if isinstance(key, EllipticCurvePublicKey) else None
