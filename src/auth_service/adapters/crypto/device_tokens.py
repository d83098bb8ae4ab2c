"""Devices: what a User-Agent says in words, and tokens by which an account knows its owner's devices."""

import hmac
import secrets
from datetime import timedelta
from functools import lru_cache

from ua_parser import parse

from auth_service import clock
from auth_service.adapters.crypto.keys import base64url, derived_key, from_base64url

LONGEST = 256
ID_BYTES = 16
EXPIRY_BYTES = 5
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

    def __init__(self, secret: str, *, lives: timedelta) -> None:
        """`secret` is a setting; a device that is not used for as long as a token `lives` is unknown again."""
        self._key = derived_key(secret, purpose="known devices")
        self._lives = lives

    def make(self, *, user_id: int, version: int, device: str | None = None) -> str:
        """A token for a device of a user, new or known by its id, good for one version of the account's credentials."""
        identity = bytes.fromhex(device) if device else secrets.token_bytes(ID_BYTES)
        said = identity + int((clock.now() + self._lives).timestamp()).to_bytes(EXPIRY_BYTES)
        return base64url(said + self._mac(said, user_id, version))

    def known(self, token: str | None, *, user_id: int, version: int) -> str | None:
        """The id of the device, if we made this token for this version of this user, and not too long ago.

        All tokens of a device have its id in common: that, and not a text, is what its attempts are counted by.
        """
        try:
            raw = from_base64url(token or "")
        except ValueError:
            return None
        said, mac = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
        if len(said) != ID_BYTES + EXPIRY_BYTES or not hmac.compare_digest(mac, self._mac(said, user_id, version)):
            return None
        expires_at = int.from_bytes(said[ID_BYTES:])
        return said[:ID_BYTES].hex() if clock.now().timestamp() < expires_at else None

    def _mac(self, said: bytes, user_id: int, version: int) -> bytes:
        return hmac.digest(self._key, said + user_id.to_bytes(8) + version.to_bytes(4), "sha256")[:MAC_BYTES]
