"""Diagnosis of a failed PostgreSQL connection: the reason in words, and whether waiting can help."""

import re
from dataclasses import dataclass
from typing import Final

import psycopg2
from sqlalchemy.engine import URL, make_url


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why PostgreSQL cannot be used, without secrets."""

    text: str
    permanent: bool
    """Whether the error stays until an operator changes something; a server that is starting is not permanent."""


# libpq gives no SQLSTATE for a failed connection, only a message. The first pattern that matches counts, because an
# attempt with TLS and one without it, or several hosts, give several messages.
_PERMANENT: Final = (
    (r"password authentication failed for user", "authentication failed for the user {user}: the password is wrong"),
    (r"no password supplied", "the server requires a password for the user {user}, and the URL has none"),
    (r"\w+ authentication failed for user", "authentication failed for the user {user}"),
    (r"role \"[^\"]*\" does not exist", "authentication failed: there is no role {user}"),
    (r"no such user|is not permitted to log in", "authentication failed: the role {user} may not sign in"),
    (r"database \"[^\"]*\" does not exist|no such database", "the database {database} does not exist"),
    (r"pg_hba\.conf .*no encryption", "the server admits this connection only with TLS: add ?sslmode=require"),
    (r"pg_hba\.conf (entry|rejects)|no pg_hba", "the server does not admit the user {user} from here (pg_hba.conf)"),
    (r"permission denied for database", "the role {user} has no CONNECT right on the database {database}"),
    (r"is not currently accepting connections", "the database {database} accepts no connections"),
    (r"root certificate file .* does not exist", "the file of certificate authorities (sslrootcert) does not exist"),
    (r"does not match host name|hostname mismatch", "the certificate of the server is for another host name"),
    (r"certificate has expired", "the certificate of the server is not trusted: it has expired"),
    (
        r"certificate verify failed|self-signed certificate|unable to get local issuer",
        "the certificate of the server is not trusted; name its authority with ?sslrootcert=FILE",
    ),
    (r"requires a valid client certificate", "the server requires a client certificate (sslcert, sslkey)"),
    (r"certificate file|private key file", "the client certificate or its key cannot be used (sslcert, sslkey)"),
    (r"does not support SSL", "the server does not offer TLS, but the URL requires it (sslmode)"),
    (
        r"received invalid response to SSL negotiation|expected authentication request|SSL error: wrong version",
        "the server at this address is not PostgreSQL, or does not speak TLS there",
    ),
    (
        r"could not translate host name .*(?:not known|No address|nodename)|could not parse network address",
        "the host {host} is unknown",
    ),
    (r"unsupported startup parameter", "PgBouncer refuses `options`; see docs/scaling.md, PgBouncer"),
    (
        r"unrecognized configuration parameter|invalid value for parameter|permission denied to set parameter",
        "the server refuses a parameter of `options`",
    ),
    (r"channel binding|authentication method requirement", "the server authenticates in another way than required"),
    (r"invalid .*value|invalid connection option|invalid integer", "the URL has a parameter that libpq refuses"),
    (r"\.s\.PGSQL\.\d+\" failed: No such file", "there is no socket of PostgreSQL in the folder {host}"),
)  # fmt: skip
_TEMPORARY: Final = (
    (r"could not translate host name", "the name server does not answer for the host {host}"),
    (r"starting up|recovery mode|not yet accepting|consistent recovery", "PostgreSQL is starting"),
    (r"shutting down", "PostgreSQL is shutting down"),
    (r"too many (?:clients|connections)|remaining connection slots", "PostgreSQL has no free connection"),
    (r"session is read-only|hot standby mode|not in hot standby", "no server has the state that the URL requires"),
    (r"timeout expired|timed out|did not answer", "{address} did not answer in time"),
    (r"Connection refused", "{address} refused the connection: nothing listens there, or a firewall rejects it"),
    (r"unreachable|No route to host", "there is no route to {address}"),
    (r"closed the connection|Connection reset|EOF detected", "{address} closed the connection; perhaps no PostgreSQL"),
)  # fmt: skip

READ_ONLY, UNDEFINED_TABLE, UNDEFINED_COLUMN, UNDEFINED_FUNCTION = "25006", "42P01", "42703", "42883"
BY_STATE: Final = {
    READ_ONLY: "the server is read-only: it is a standby, or default_transaction_read_only is on",
    "3D000": "the database {database} does not exist",
    "3F000": "the role {user} has no schema on its search_path",
    "42501": "the role {user} lacks a right",
    UNDEFINED_TABLE: "the tables of this release are missing: run `manage.py db upgrade`",
    UNDEFINED_COLUMN: "the tables of this release are missing: run `manage.py db upgrade`",
    UNDEFINED_FUNCTION: "the tables of this release are missing: run `manage.py db upgrade`",
    "28P01": "authentication failed for the user {user}: the password is wrong",
}
"""Texts for failed statements by SQLSTATE."""


def is_diagnosable(error: BaseException | None) -> bool:
    """Whether `diagnose` can explain an error: a failed connection, or an SQLSTATE of BY_STATE."""
    return isinstance(error, psycopg2.OperationalError) or getattr(error, "pgcode", None) in BY_STATE


def diagnose(error: BaseException | None, *, url: str | URL) -> Diagnosis:
    """Explain an error of psycopg2 for the connection of `url`. The text has no password and no statement."""
    parts = make_url(url)
    host = _effective(parts, "host", parts.host or "the local socket")
    user = _effective(parts, "user", parts.username or "of the system")
    port = _effective(parts, "port", str(parts.port or 5432))
    words = {
        "user": user,
        "database": _effective(parts, "dbname", parts.database or user),
        "host": host,
        "address": f"{host}:{port}" if not host.startswith(("/", "the ")) and "," not in host else host,
    }
    state = getattr(error, "pgcode", None)
    if state in BY_STATE:
        return Diagnosis(BY_STATE[state].format(**words), permanent=state != READ_ONLY)
    message = str(error)
    for patterns, permanent in ((_PERMANENT, True), (_TEMPORARY, False)):
        for pattern, text in patterns:
            if re.search(pattern, message, re.IGNORECASE):
                return Diagnosis(text.format(**words), permanent=permanent)
    return Diagnosis(
        _unknown_reason(error, secret=_effective(parts, "password", parts.password or "")), permanent=False
    )


def _effective(parts: URL, name: str, in_url: str) -> str:
    """The value that libpq gets: a parameter behind the `?` replaces that part of the URL; several hosts are a list."""
    value = parts.query.get(name, in_url)
    return value if isinstance(value, str) else ",".join(value)


def _unknown_reason(error: BaseException | None, *, secret: object) -> str:
    """Return the first line of a message that no pattern matches, such as a translated one (lc_messages).

    Messages about statements are left out, because they may contain values of the statement.
    """
    if not isinstance(error, psycopg2.OperationalError) or getattr(error, "pgcode", None):
        return f"PostgreSQL failed ({type(error).__name__} {getattr(error, 'pgcode', None) or ''})".replace(" )", ")")
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return first.replace(str(secret), "…") if secret else first
