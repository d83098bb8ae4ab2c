"""Several hosts in `DATABASE_URL` (failover): the form of libpq, in the form that SQLAlchemy reads."""

import re

AUTHORITY = re.compile(r"(?P<authority>[^/?]*)(?P<path>/?[^?]*)\??(?P<parameters>.*)", re.DOTALL)


def hosts_as_parameters(rest: str) -> str:
    """Return what follows `postgresql://` with several hosts as parameters `host`; anything else as it is.

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
