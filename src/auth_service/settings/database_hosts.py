"""Several hosts in `DATABASE_URL` (failover): converts the form of libpq into the form of SQLAlchemy."""

import re

AUTHORITY = re.compile(r"(?P<authority>[^/?]*)(?P<path>/?[^?]*)\??(?P<parameters>.*)", re.DOTALL)


def hosts_as_parameters(rest: str) -> str:
    """Convert several hosts in a URL without its scheme into parameters `host`; return any other URL unchanged.

    libpq documents `user:password@h1:5432,h2:5432/name`; SQLAlchemy reads `user:password@/name?host=h1:5432&host=…`.
    """
    parts = AUTHORITY.fullmatch(rest)
    if parts is None:
        return rest
    login, at, hosts = parts["authority"].rpartition("@")
    if "," not in hosts:
        return rest
    parameters = [f"host={host}" for host in hosts.split(",")]
    return f"{login}{at}{parts['path'] or '/'}?{'&'.join(filter(None, [*parameters, parts['parameters']]))}"
