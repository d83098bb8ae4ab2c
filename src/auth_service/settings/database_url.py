"""PostgreSQL URL (`DATABASE_URL`): the start checks what SQLAlchemy and libpq would reject or misread later.

No message quotes any part of the URL, because a mistyped URL may have the password anywhere.
"""

import re
from collections.abc import Mapping

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from auth_service.settings.database_hosts import hosts_as_parameters
from auth_service.settings.hosts import check_readable, is_host

SCHEMES = ("postgres", "postgresql", "postgresql+psycopg2")
FORM = (
    "must be like postgresql://user:password@host:5432/name; percent-encode @ : / ? # in the user, the password and "
    "the name (@ is %40)"
)
LAST_PORT = 65535

INTEGERS = frozenset(
    {"connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"}
)
FILES = frozenset({"passfile", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcrldir"})
TEXTS = frozenset(
    {
        "user", "password", "dbname", "host", "hostaddr", "port", "options", "application_name", "client_encoding",
        "fallback_application_name", "service", "sslpassword", "requirepeer", "require_auth", "krbsrvname",
    }
)  # fmt: skip
CHOICES: Mapping[str, tuple[str, ...]] = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "sslcertmode": ("disable", "allow", "require"),
    "sslsni": ("0", "1"),
    "sslcompression": ("0", "1"),
    "keepalives": ("0", "1"),
    "channel_binding": ("disable", "prefer", "require"),
    "gssencmode": ("disable", "prefer", "require"),
    "gssdelegation": ("0", "1"),
    "ssl_min_protocol_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
    "ssl_max_protocol_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    "load_balance_hosts": ("disable", "random"),
}
"""The values that libpq accepts; it would refuse others at the first connection."""


def postgres_url(value: str) -> str:
    """Accept every URL scheme of PostgreSQL and name the installed driver, psycopg2. Raises ValueError."""
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ValueError("must begin with postgresql://")
    rest = hosts_as_parameters(rest)
    url = _parse(f"postgresql+psycopg2://{rest}")
    _check_server(url)
    _check_parameters(url)
    return f"postgresql+psycopg2://{rest}"


def _parse(value: str) -> URL:
    try:
        url: URL | None = make_url(value)
    except (ArgumentError, ValueError):  # their messages quote the URL
        url = None
    # SQLAlchemy ignores parts of the query that are not name=value, such as the rest of a password with @ and ?.
    parameters = value.partition("@")[2].partition("?")[2]
    if url is None or not re.fullmatch(r"(?:[^=&]+=[^&]*(?:&|$))*", parameters):
        raise ValueError(FORM)
    return url


def _check_server(url: URL) -> None:
    """Reject a URL that was split in the wrong place, for example because of an `@` in the password."""
    hosts = [] if url.host is None else url.host.split(",")
    if not all(is_host(host) for host in hosts):
        raise ValueError(FORM)
    if url.port is not None and not 1 <= url.port <= LAST_PORT:
        raise ValueError(f"the port must be between 1 and {LAST_PORT}")
    if url.database is not None and re.search(r"[@/?#\s]", url.database):
        raise ValueError(FORM)
    if any(not text.isprintable() for text in (url.username or "", str(url.password or ""))):
        raise ValueError("user and password must not contain control characters")


def _check_parameters(url: URL) -> None:
    for name, value in url.query.items():
        if name not in TEXTS | INTEGERS | FILES | CHOICES.keys():
            known = "sslmode, sslrootcert, options, application_name, connect_timeout, target_session_attrs"
            raise ValueError(f"has a parameter behind the ? that libpq does not know; it knows {known} and others")
        if isinstance(value, tuple) and name != "host":
            raise ValueError(f"the parameter {name} is given twice")
        if isinstance(value, str):
            _check_parameter(name, value)


def _check_parameter(name: str, value: str) -> None:
    if name in CHOICES and value not in CHOICES[name]:
        raise ValueError(f"the parameter {name} must be one of {', '.join(CHOICES[name])}")
    if name in INTEGERS and not re.fullmatch(r"[0-9]{1,9}", value):
        raise ValueError(f"the parameter {name} must be a whole number")
    if name == "port" and not all(re.fullmatch(r"[0-9]{1,5}", port) for port in value.split(",")):
        raise ValueError("the parameter port must be a number, or numbers separated by commas")
    if name in FILES and not (name == "sslrootcert" and value == "system"):
        check_readable(value, what=f"the file of the parameter {name}")
