"""Diagnosis of a failed Redis connection or command: the reason in words, and whether waiting can help."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why Redis cannot be used, without secrets."""

    text: str
    permanent: bool
    """Whether the error stays until an operator changes something."""


_PERMANENT: Final = (
    (
        r"WRONGPASS|invalid username-password|invalid password",
        "authentication failed for the user {user}: the password is wrong",
    ),
    (
        r"NOAUTH|Authentication required",
        "the server requires a password for the user {user}, and the URL has none or a wrong one",
    ),
    (r"without any password configured|no password is set", "the server has no password, but the URL names one"),
    (r"can't run this command|has no permissions to run", "the ACL denies a command to the user {user}{command}"),
    (
        r"can't access at least one|No permissions to access a key|access one of the keys",
        "the ACL denies the keys auth:* to the user {user}",
    ),
    (r"NOPERM|no permission", "the ACL denies something to the user {user}"),
    (r"DB index is out of range", "the server has no database with the number in the URL"),
    (r"not allowed in cluster|MOVED|CLUSTERDOWN", "{address} is a node of a Redis Cluster; name a proxy"),
    (r"protected mode", "the server is in protected mode: it admits other machines only with a password"),
    (r"Hostname mismatch|doesn't match|IP address mismatch", "the certificate of the server is for another host name"),
    (r"certificate has expired", "the certificate of the server is not trusted: it has expired"),
    (
        r"certificate verify failed|self-signed",
        "the certificate of the server is not trusted; name its authority with ?ssl_ca_certs=FILE",
    ),
    (r"WRONG_VERSION_NUMBER|record layer failure|UNEXPECTED_EOF", "{address} does not speak TLS: use redis://"),
    (r"SSL|TLS", "TLS with {address} failed"),
    (r"Name or service not known|No address associated|nodename", "the host {host} is unknown"),
    (r"Protocol Error|Invalid .*response|Bad response", "{address} is not Redis"),
    (r"unknown command", "the server does not know a command that the service needs"),
)  # fmt: skip
_TEMPORARY: Final = (
    (r"name resolution", "the name server does not answer for the host {host}"),
    (r"READONLY|read only replica", "{address} is a replica, which is read-only"),
    (r"LOADING|BusyLoading|loading the dataset", "Redis is starting"),
    (r"MASTERDOWN", "the replica has lost its primary"),
    (r"OOM|maxmemory", "Redis is full (maxmemory)"),
    (r"MISCONF", "Redis cannot write to its disk"),
    (r"max number of clients|MaxClients", "Redis has no free connection"),
    (r"Timeout|timed out", "{address} did not answer in time{tls}"),
    (r"refused", "{address} refused the connection: nothing listens there, or a firewall rejects it"),
    (r"unreachable|No route to host", "there is no route to {address}"),
    (r"closed|reset|Broken pipe", "{address} closed the connection; perhaps it requires TLS (rediss://)"),
)


def diagnose(error: BaseException | None, *, url: str) -> Diagnosis:
    """Explain an error of redis-py for the connection of `url`. The text has no password, key or value."""
    parts = urlsplit(url)
    message = f"{type(error).__name__}: {error}"
    command = re.search(r"run the '([a-z|]{1,30})' command", message)
    words = {
        "user": parts.username or "default",
        "host": parts.hostname,
        "address": f"{parts.hostname}:{parts.port or 6379}",
        "tls": "; perhaps it does not speak TLS (redis://)" if parts.scheme == "rediss" else "",
        "command": f": {command[1].upper()}" if command else "",
    }
    for patterns, permanent in ((_PERMANENT, True), (_TEMPORARY, False)):
        for pattern, text in patterns:
            if re.search(pattern, message, re.IGNORECASE):
                return Diagnosis(text.format(**words), permanent=permanent)
    return Diagnosis(f"Redis at {words['address']} failed ({type(error).__name__})", permanent=False)
