"""Redis URL (`REDIS_URL`): checked at the start, because redis-py ignores mistakes or quotes the password."""

import re
from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, parse_qs, unquote_to_bytes, urlsplit

from auth_service.settings.hosts import check_readable, is_host

FORM = (
    "must be like redis://user:password@host:6379/0 or rediss:// for TLS; percent-encode @ : / ? # in the user and the "
    "password (@ is %40)"
)
LAST_PORT = 65535


def _is_number(value: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,4}", value))


def _is_flag(value: str) -> bool:
    return value.lower() in ("true", "false", "yes", "no", "1", "0")


PARAMETERS: Mapping[str, Callable[[str], bool]] = {
    "db": _is_number,
    "client_name": lambda value: bool(re.fullmatch(r"[!-~]{1,64}", value)),
    "socket_keepalive": _is_flag,
    "ssl_cert_reqs": lambda value: value in ("none", "optional", "required"),
    "ssl_check_hostname": _is_flag,
    "ssl_ca_certs": bool,
    "ssl_ca_path": bool,
    "ssl_certfile": bool,
    "ssl_keyfile": bool,
    "ssl_password": bool,
}
"""The parameters that may follow the `?`, with their checks. The service sets time limits and pool size itself."""
FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")


def redis_url(value: str) -> str:
    """Check a Redis URL. Raises ValueError, whose message quotes no part of the URL."""
    if not re.match(r"rediss?://", value):
        raise ValueError("must begin with redis:// or rediss://")
    parts = _parse(value)
    if not is_host(parts.hostname or "") or parts.fragment or not re.fullmatch(r"/?|/[0-9]{1,4}", parts.path):
        raise ValueError(FORM)
    for credential in (parts.username or "", parts.password or ""):
        decoded = unquote_to_bytes(credential).decode(errors="replace")
        if "\N{REPLACEMENT CHARACTER}" in decoded or not decoded.isprintable():
            raise ValueError("user and password must be UTF-8 without control characters, percent-encoded")
    _check_parameters(parts)
    return value


def _parse(value: str) -> SplitResult:
    try:
        parts: SplitResult | None = urlsplit(value)
        port = parts.port if parts else None
    except ValueError:  # its message quotes the port, which may be a part of the password
        parts, port = None, None
    if parts is None or not value.isprintable() or " " in value:
        raise ValueError(FORM)
    if port == 0:
        raise ValueError(f"the port must be between 1 and {LAST_PORT}")
    return parts


def _check_parameters(parts: SplitResult) -> None:
    parameters = parse_qs(parts.query, keep_blank_values=True)
    for name, values in parameters.items():
        if name not in PARAMETERS:
            raise ValueError(f"has an unknown parameter behind the ?; known are {', '.join(PARAMETERS)}")
        if len(values) > 1 or not PARAMETERS[name](values[0]):
            raise ValueError(f"the parameter {name} has no valid value")
        if name.startswith("ssl_") and parts.scheme != "rediss":
            raise ValueError(f"the parameter {name} needs rediss://")
        if name in FILES:
            check_readable(values[0], what=f"the file of the parameter {name}")
    if parts.query and not parameters:
        raise ValueError(FORM)
