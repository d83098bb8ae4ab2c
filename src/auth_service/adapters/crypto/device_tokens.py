"""Device tokens (known devices of an account), and a readable description of a User-Agent header."""

import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from ua_parser import parse

from auth_service import clock
from auth_service.adapters.crypto.keys import base64url, derived_key, from_base64url

LONGEST_DESCRIPTION = 256
ID_BYTES = 16
EXPIRY_BYTES = 5
MAC_BYTES = 16
DEVICE_BYTES = ID_BYTES + EXPIRY_BYTES
TRUST_BYTES = EXPIRY_BYTES + MAC_BYTES


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceTrust:
    """The trust of a user in a device: it replaces the second step until a time, for one version of the factors."""

    until: datetime
    factor_version: int


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
    The token of a trusted device also contains the trust, which every change of the second factors ends.
    """

    def __init__(self, secret: str, *, ttl: timedelta) -> None:
        """`secret` is a setting; a device that is not used for `ttl` becomes unknown."""
        self._key = derived_key(secret, purpose="known devices")
        self._ttl = ttl

    def make(self, *, user_id: int, version: int, device: str | None = None, trust: DeviceTrust | None = None) -> str:
        """Create a token for a device of a user: a new device, or the known one with the id `device` (hex).

        It is valid for one `version` of the credentials of the account.
        """
        identity = bytes.fromhex(device) if device else secrets.token_bytes(ID_BYTES)
        content = identity + _seconds(clock.now() + self._ttl)
        if trust is not None:
            trusted = identity + _seconds(trust.until)
            content += trusted[ID_BYTES:] + self._mac(trusted, user_id, version, trust.factor_version)
        return base64url(content + self._mac(content, user_id, version))

    def known(self, token: str | None, *, user_id: int, version: int) -> str | None:
        """The id of the device (hex); None unless the token was issued for this user and version and has not expired.

        All tokens of a device share its id. The login throttle counts the attempts of a device by this id.
        """
        content = self._content(token, user_id=user_id, version=version)
        return None if content is None else content[:ID_BYTES].hex()

    def trust(self, token: str | None, *, user_id: int, version: int, factor_version: int) -> DeviceTrust | None:
        """The trust in the device; None unless it is for this user and these versions and has not expired."""
        content = self._content(token, user_id=user_id, version=version)
        if content is None or len(content) == DEVICE_BYTES:
            return None
        until, mac = content[DEVICE_BYTES:-MAC_BYTES], content[-MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(content[:ID_BYTES] + until, user_id, version, factor_version)):
            return None
        expires_at = datetime.fromtimestamp(int.from_bytes(until), UTC)
        return DeviceTrust(until=expires_at, factor_version=factor_version) if clock.now() < expires_at else None

    def _content(self, token: str | None, *, user_id: int, version: int) -> bytes | None:
        """Return the content of a genuine token that has not expired, or None."""
        try:
            raw = from_base64url(token or "")
        except ValueError:
            return None
        content, mac = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
        if len(content) not in (DEVICE_BYTES, DEVICE_BYTES + TRUST_BYTES):
            return None
        if not hmac.compare_digest(mac, self._mac(content, user_id, version)):
            return None
        expires_at = int.from_bytes(content[ID_BYTES:DEVICE_BYTES])
        return content if clock.now().timestamp() < expires_at else None

    def _mac(self, content: bytes, user_id: int, *versions: int) -> bytes:
        bound_to = user_id.to_bytes(8) + b"".join(version.to_bytes(4) for version in versions)
        return hmac.digest(self._key, content + bound_to, "sha256")[:MAC_BYTES]


def _seconds(instant: datetime) -> bytes:
    return int(instant.timestamp()).to_bytes(EXPIRY_BYTES)
