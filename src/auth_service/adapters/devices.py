"""Devices: what a User-Agent says in words, and tokens by which an account knows its owner's devices."""

import base64
import hmac
import secrets
from functools import lru_cache

from ua_parser import parse

from auth_service.adapters.crypto import derived_key

LONGEST = 256
RANDOM_BYTES = 16
MAC_BYTES = 16


def describe(user_agent: str | None) -> str:
    """A device in words for its owner ("Firefox 143 on Windows 11"), at most 256 characters, without controls."""
    return _described((user_agent or "")[:LONGEST])


@lru_cache(maxsize=4096)
def _described(user_agent: str) -> str:
    found = parse(user_agent)
    browser, system = (
        " ".join(part for part in (known.family, known.major) if part) if known else ""
        for known in (found.user_agent, found.os)
    )
    words = " on ".join(part for part in (browser, system) if part) or "unknown device"
    return "".join(character for character in words if character.isprintable())[:LONGEST]


class DeviceTokens:
    """Says of a device that its owner has signed in on it before; worth nothing by itself.

    With the password or the address all devices become unknown: one of them may be why they were changed.
    """

    def __init__(self, secret: str) -> None:
        """`secret` is a setting."""
        self._key = derived_key(secret, purpose="known devices")

    def make(self, *, user_id: int, version: int) -> str:
        """A token for one device of a user, good for one version of the account's credentials."""
        random = secrets.token_bytes(RANDOM_BYTES)
        return base64.urlsafe_b64encode(random + self._mac(random, user_id, version)).rstrip(b"=").decode()

    def is_known(self, token: str | None, *, user_id: int, version: int) -> bool:
        """Whether we made this token for this version of this user."""
        try:
            raw = base64.b64decode((token or "") + "=" * (-len(token or "") % 4), altchars=b"-_", validate=True)
        except ValueError:
            return False
        random, mac = raw[:RANDOM_BYTES], raw[RANDOM_BYTES:]
        return hmac.compare_digest(mac, self._mac(random, user_id, version))

    def _mac(self, random: bytes, user_id: int, version: int) -> bytes:
        return hmac.digest(self._key, random + user_id.to_bytes(8) + version.to_bytes(4), "sha256")[:MAC_BYTES]
