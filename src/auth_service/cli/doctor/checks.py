"""Checks of `manage.py doctor`: Redis, SMTP, clocks, proxies and ports."""

import json
import os
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parseaddr

from redis.exceptions import RedisError

from auth_service.adapters import listening
from auth_service.adapters.email.smtp_transport import SmtpTransport
from auth_service.adapters.email.transport import MailFailure
from auth_service.adapters.redis import diagnosis, inspection
from auth_service.cli.doctor.findings import Clock, Finding, fail, ok, warn
from auth_service.settings import Settings

TOLERATED = timedelta(seconds=1)
LARGEST = timedelta(seconds=5)
"""The largest clock skew: beyond it, tokens of one machine are not yet or no longer valid on another."""


def redis(settings: Settings, clocks: list[Clock]) -> Iterator[Finding]:
    """Connect, and check mode, eviction and the ACL."""
    url = str(settings.redis_url)
    before = datetime.now(UTC)
    try:
        facts = inspection.inspect(url)
    except RedisError as error:
        yield fail("redis", f"REDIS_URL: {diagnosis.diagnose(error, url=url).text}")
        return
    if facts.now is not None:
        clocks.append(Clock.compare("Redis", facts.now, before=before, after=datetime.now(UTC)))
    known = [facts.version or "of unknown version", facts.mode, facts.role]
    yield ok("redis", f"REDIS_URL: Redis {', '.join(value for value in known if value)}")
    if facts.mode == "cluster":
        yield fail("redis", "REDIS_URL: a node of a Redis Cluster; name a proxy")
    if facts.role == "slave":
        yield fail("redis", "REDIS_URL: a replica, which is read-only; name the primary")
    if facts.eviction is None:
        yield warn("redis", "eviction: the server does not tell its maxmemory-policy; it must be noeviction")
    elif facts.eviction != "noeviction":
        state = fail if settings.production else warn
        yield state("redis", f"eviction: maxmemory-policy is {facts.eviction}; it must be noeviction")
    else:
        yield ok("redis", f"eviction: noeviction, maxmemory {facts.memory_limit or 'without limit'}")
    if facts.denied:
        yield fail("redis", f"ACL: denied to this user, but needed: {', '.join(facts.denied)} on the keys auth:*")
    else:
        yield ok("redis", "ACL: everything that the service needs is allowed")


def smtp(settings: Settings) -> Iterator[Finding]:
    """Connect, encrypt, sign in and offer the sender; or check the folder of the dev inbox."""
    if settings.smtp_url is None:
        inbox = settings.inbox_dir or settings.data_dir
        writable = os.access(next(path for path in (inbox, *inbox.resolve().parents) if path.exists()), os.W_OK)
        state = ok if writable else fail
        yield state("smtp", f"the dev inbox {inbox} {'receives' if writable else 'cannot receive'} the emails")
        return
    sender = parseaddr(settings.sender)[1] or settings.sender
    transport = SmtpTransport(settings.smtp_url.get_secret_value(), timeout=settings.mail_timeout_seconds)
    try:
        secured = transport.probe(sender=sender)
    except MailFailure as error:
        yield fail("smtp", f"SMTP_URL: {error}{HINTS.get(error.status or 0, '')}")
        return
    yield ok("smtp", f"SMTP_URL: the server accepts the sender {sender} ({secured})")
    if settings.production and secured.startswith("no TLS"):
        yield warn("smtp", "SMTP_URL: emails with codes go to the server without TLS; use smtp+starttls:// or smtps://")


HINTS = {
    530: "; it requires TLS (smtp+starttls://) or user and password",
    534: "; it requires another way of signing in, often a password for applications",
    535: "; user or password is wrong",
    538: "; it requires TLS (smtp+starttls:// or smtps://)",
    550: "; MAIL_FROM may not be used with this account",
    553: "; MAIL_FROM may not be used with this account",
}
"""What a reply code (RFC 4954, RFC 5321) usually means to an operator."""


def clocks(compared: list[Clock]) -> Iterator[Finding]:
    """Compare the clocks of the servers with that of this machine."""
    for clock in compared:
        seconds = clock.ahead.total_seconds()
        text = f"{clock.name} differs from this machine by {seconds:+.3f} s"
        if abs(clock.ahead) <= TOLERATED:
            yield ok("clocks", text)
        else:
            yield (warn if abs(clock.ahead) <= LARGEST else fail)("clocks", f"{text}; synchronise them (NTP)")


def proxies(settings: Settings) -> Iterator[Finding]:
    """Report the proxies whose X-Forwarded-For is trusted."""
    if settings.trusted_proxies:
        networks = ", ".join(map(str, settings.trusted_proxies))
        yield ok("proxies", f"X-Forwarded-For is trusted from {networks}; PUBLIC_URL is {settings.public_url}")
    elif settings.production:
        yield warn(
            "proxies",
            "TRUSTED_PROXIES is not set: behind a proxy, all clients count as one network and share its rate limits",
        )
    else:
        yield ok("proxies", f"none is trusted; PUBLIC_URL is {settings.public_url}")


def ports(settings: Settings) -> Iterator[Finding]:
    """Check that the ports are free, or that the API already listens on them."""
    address = listening.address(settings.http_host, settings.http_port)
    if not listening.is_taken(settings.http_host, settings.http_port):
        yield ok("ports", f"HTTP_PORT: {address} is free")
    elif _is_this_service(address):
        yield ok("ports", f"HTTP_PORT: the API answers at {address}")
    else:
        yield fail("ports", f"HTTP_PORT: something else listens on {address}")
    if settings.metrics_port is not None:
        metrics = listening.address(settings.metrics_host, settings.metrics_port)
        taken = listening.is_taken(settings.metrics_host, settings.metrics_port)
        yield ok("ports", f"METRICS_PORT: {metrics} is {'in use, as by a running API' if taken else 'free'}")


def _is_this_service(address: str) -> bool:
    # Without proxies: a proxy that the environment names cannot reach a loopback address.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    reachable = address.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")  # noqa: S104 - compared, not bound
    try:
        with opener.open(f"http://{reachable}/health/live", timeout=3) as response:
            return bool(json.load(response).get("success"))
    except (OSError, ValueError, AttributeError):
        return False
