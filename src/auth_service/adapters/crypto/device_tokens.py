"""Device tokens (known devices of an account), and a readable description of a User-Agent header."""

import hmac
import secrets
from datetime import timedelta
from functools import lru_cache

from ua_parser import parse

from auth_service import clock
from auth_service.adapters.crypto.keys import base64url, derived_key, from_base64url

LONGEST_DESCRIPTION = 256
ID_BYTES = 16
EXPIRY_BYTES = 5
MAC_BYTES = 16


def describe(user_agent: str | None) -> str:
    """Describe a User-Agent for its user ("Firefox 143 on Windows 11"): at most 256 printable characters."""
    return _describe((user_agent or "")[:LONGEST_DESCRIPTION])


@lru_cache(maxsize=4096)
def _describe(user_agent: str) -> str:
    parsed = parse(user_agent)
    browser, system = (
        " ".join(part for part in (match.family, match.major) if part) if match else ""
        for match in (parsed.user_agent, parsed.os)
    )
    description = " on ".join(part for part in (browser, system) if part) or "unknown device"
    return "".join(character for character in description if character.isprintable())[:LONGEST_DESCRIPTION]


class DeviceTokens:
    """Device tokens prove that a user has signed in on a device before; they do not authenticate the user.

    A change of the password or the address makes all devices unknown, since a stolen device may be the reason for it.
    """

    def __init__(self, secret: str, *, ttl: timedelta) -> None:
        """`secret` is a setting; a device that is not used for `ttl` becomes unknown."""
        self._key = derived_key(secret, purpose="known devices")
        self._ttl = ttl

    def make(self, *, user_id: int, version: int, device: str | None = None) -> str:
        """Create a token for a device of a user: a new device, or the known one with the id `device` (hex).

        It is valid for one `version` of the credentials of the account.
        """
        identity = bytes.fromhex(device) if device else secrets.token_bytes(ID_BYTES)
        content = identity + int((clock.now() + self._ttl).timestamp()).to_bytes(EXPIRY_BYTES)
        return base64url(content + self._mac(content, user_id, version))

    def known(self, token: str | None, *, user_id: int, version: int) -> str | None:
        """The id of the device (hex); None unless the token was issued for this user and version and has not expired.

        All tokens of a device share its id. The login throttle counts the attempts of a device by this id.
        """
        try:
            raw = from_base64url(token or "")
        except ValueError:
            return None
        content, mac = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
        if len(content) != ID_BYTES + EXPIRY_BYTES:
            return None
        if not hmac.compare_digest(mac, self._mac(content, user_id, version)):
            return None
        expires_at = int.from_bytes(content[ID_BYTES:])
        return content[:ID_BYTES].hex() if clock.now().timestamp() < expires_at else None

    def _mac(self, content: bytes, user_id: int, version: int) -> bytes:
        return hmac.digest(self._key, content + user_id.to_bytes(8) + version.to_bytes(4), "sha256")[:MAC_BYTES]
