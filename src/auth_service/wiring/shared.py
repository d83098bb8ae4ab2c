"""Parts that several services share: Redis, rate limiter, login throttle, passwords, audit log, outbox."""

from dataclasses import dataclass

from auth_service.adapters.crypto.keys import Digests, Sealer
from auth_service.adapters.redis.client import RedisClient
from auth_service.adapters.redis.code_store import CodeStore
from auth_service.adapters.redis.login_throttle import LoginThrottle
from auth_service.adapters.redis.rate_limiter import LocalRateLimiter, RateLimiter
from auth_service.models.outbox_message import EmailKind
from auth_service.services.audit.events import AuditLog
from auth_service.services.credentials.code_limits import CodeLimiter
from auth_service.services.credentials.one_time_codes import OneTimeCodes, UnboundAttempts
from auth_service.services.credentials.passwords import Passwords
from auth_service.services.email.outbox import Outbox
from auth_service.services.pagination import Cursors
from auth_service.services.tokens.signing_keys import SigningKeys
from auth_service.services.users.security_notifications import SecurityNotifications
from auth_service.services.users.users import Users
from auth_service.settings import Settings
from auth_service.wiring import audit, credentials, email, tokens, users


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """One instance of each part, which all services use."""

    settings: Settings
    redis: RedisClient
    limiter: RateLimiter
    code_store: CodeStore
    code_limiter: CodeLimiter
    throttle: LoginThrottle
    users: Users
    passwords: Passwords
    signing_keys: SigningKeys
    audit_log: AuditLog
    outbox: Outbox
    security_notifications: SecurityNotifications
    email_sealer: Sealer
    """Encrypts the content of emails from the outbox to the mail worker."""
    cursors: Cursors

    def one_time_codes(
        self, kind: EmailKind, *, unbound: UnboundAttempts, reveals_daily_cap: bool = False
    ) -> OneTimeCodes:
        """Build the one-time codes of one purpose, which is the kind of their emails."""
        return OneTimeCodes(
            kind=kind,
            store=self.code_store,
            limiter=self.code_limiter,
            outbox=self.outbox,
            unbound=unbound,
            reveals_daily_cap=reveals_daily_cap,
        )


def database_connections(settings: Settings) -> int:
    """Connections of one process to PostgreSQL: one for each request thread, and one for health checks and metrics."""
    return settings.database_connections or settings.web_threads + 1


def shared_parts(settings: Settings) -> Shared:
    """Build the shared parts. Opens no connection. Raises ValueError for settings that are not `completed`."""
    if settings.redis_url is None:
        raise ValueError("the settings have to be completed before services are built from them")
    redis = RedisClient(url=settings.redis_url, connections=settings.web_threads + 1)
    limiter = _rate_limiter(settings, redis)
    email_sealer = Sealer(settings.secret("outbox_key"), purpose="letters")
    cursors = Cursors(sealer=Sealer(settings.secret("session_key"), purpose="cursors"))
    outbox = email.outbox(settings, email_sealer)
    return Shared(
        settings=settings,
        redis=redis,
        limiter=limiter,
        code_store=credentials.code_store(settings, redis),
        code_limiter=credentials.code_limiter(settings, limiter),
        throttle=credentials.login_throttle(settings, redis),
        users=users.users(),
        passwords=credentials.passwords(settings),
        signing_keys=tokens.signing_keys(settings),
        audit_log=audit.audit_log(settings, cursors, limiter),
        outbox=outbox,
        security_notifications=users.security_notifications(outbox),
        email_sealer=email_sealer,
        cursors=cursors,
    )


def _rate_limiter(settings: Settings, redis: RedisClient) -> RateLimiter:
    return RateLimiter(
        store=redis,
        digests=Digests(settings.secret("code_key"), purpose="limits"),
        local=LocalRateLimiter(),
        enabled=settings.rate_limits == "on",
    )
