"""Inspection of Redis: version, mode, eviction and the ACL rights that the service needs, for `manage.py doctor`."""

import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from auth_service.adapters.redis.client import NAMESPACE

SCRIPT: Final = """
local answer = redis.pcall(unpack(ARGV))
redis.pcall('DEL', KEYS[1])
if type(answer) == 'table' and answer.err then return redis.error_reply(answer.err) end
"""
"""Runs the command in ARGV and returns only its error: Redis checks the ACL of each command inside a script, too."""
COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "TIME": (),
    "HSET": ("K", "f", "1"),
    "HMGET": ("K", "f"),
    "HGETALL": ("K",),
    "HLEN": ("K",),
    "HINCRBY": ("K", "f", "1"),
    "HDEL": ("K", "f"),
    "PEXPIRE": ("K", "1000"),
    "PTTL": ("K",),
    "DEL": ("K",),
    "LPUSH": ("K", "1"),
    "LINDEX": ("K", "0"),
    "LRANGE": ("K", "0", "1"),
    "LREM": ("K", "1", "1"),
    "LTRIM": ("K", "0", "1"),
    "LPOP": ("K",),
}
"""The commands of the Lua scripts with arguments; K is the key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What Redis reports about the server; None where the ACL or the provider hides it."""

    version: str | None
    mode: str | None
    role: str | None
    eviction: str | None
    memory_limit: int | None
    now: datetime | None
    denied: tuple[str, ...]
    """Commands that the service needs and the ACL denies."""


def inspect(url: str, *, timeout: float = 3.0) -> Facts:
    """Connect, and read the facts of the server. Raises RedisError."""
    client = redis.Redis.from_url(
        url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=Retry(NoBackoff(), 0), protocol=2
    )
    with client:
        server = _info(client, "server")
        return Facts(
            version=server.get("valkey_version") or server.get("redis_version"),
            mode=server.get("redis_mode") or server.get("server_mode"),
            role=_info(client, "replication").get("role"),
            eviction=_config(client, "maxmemory-policy"),
            memory_limit=int(limit) if (limit := _config(client, "maxmemory")) is not None else None,
            now=_now(client),
            denied=_denied(client),
        )


def _info(client: "redis.Redis", section: str) -> dict[str, str]:
    try:
        raw: object = client.info(section)
    except ResponseError:
        return {}
    return {str(name): str(value) for name, value in raw.items()} if isinstance(raw, dict) else {}


def _config(client: "redis.Redis", name: str) -> str | None:
    with suppress(ResponseError):
        values: object = client.config_get(name)
        if isinstance(values, dict) and name in values:
            return str(values[name])
    return None


def _now(client: "redis.Redis") -> datetime | None:
    with suppress(ResponseError):
        seconds, microseconds = client.time()
        return datetime.fromtimestamp(int(seconds), UTC).replace(microsecond=int(microseconds))
    return None


def _denied(client: "redis.Redis") -> tuple[str, ...]:
    """Return the denied commands. Each is tried on a key that no other client uses and that is deleted or expires."""
    key = f"{NAMESPACE}doctor:{secrets.token_hex(8)}"
    attempts: dict[str, tuple[str | int, ...]] = {
        "PING": ("PING",),
        "SET": ("SET", key, "1", "PX", 1000),
        "GET": ("GET", key),
        "EVAL": ("EVAL", "return 1", 1, key),
        "EVALSHA": ("EVALSHA", "0" * 40, 1, key),
    }
    denied = [name for name, command in attempts.items() if _is_denied(client, command)]
    if "EVAL" not in denied:
        denied += [name for name in COMMANDS if _is_denied_in_script(client, name, f"{key}:{name}")]
    return tuple(denied)


def _is_denied(client: "redis.Redis", command: tuple[str | int, ...]) -> bool:
    try:
        client.execute_command(*command)  # type: ignore[no-untyped-call]
    except RedisError as error:
        return _is_permission_error(error)
    return False


def _is_denied_in_script(client: "redis.Redis", name: str, key: str) -> bool:
    arguments = [key if argument == "K" else argument for argument in COMMANDS[name]]
    return _is_denied(client, ("EVAL", SCRIPT, 1, key, name, *arguments))


def _is_permission_error(error: RedisError) -> bool:
    text = f"{type(error).__name__} {error}".lower()
    return any(words in text for words in ("nopermission", "noperm", "no permission", "can't run this", "can't access"))
