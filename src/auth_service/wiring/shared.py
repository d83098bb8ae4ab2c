"""What more than one service is given: stores, limits, users, the outbox."""

from dataclasses import dataclass
from datetime import timedelta

from auth_service.adapters.crypto.keys import Digests, Sealer
from auth_service.adapters.crypto.password_hasher import PasswordHasher
from auth_service.adapters.redis.client import RedisClient
from auth_service.adapters.redis.code_store import CodeStore
from auth_service.adapters.redis.login_throttle import LoginThrottle
from auth_service.adapters.redis.rate_limiter import LocalRateLimiter, RateLimiter
from auth_service.models.outbox_message import EmailKind
from auth_service.services.audit.events import AuditLog
from auth_service.services.credentials.one_time_codes import CodeLimiter, CodeLimits, OneTimeCodes, UnboundAttempts
from auth_service.services.credentials.passwords import Passwords
from auth_service.services.email.outbox import UNLIMITED, Outbox
from auth_service.services.pagination import Cursors
from auth_service.services.tokens.signing_keys import SigningKeys
from auth_service.services.users.security_notifications import SecurityNotifications
from auth_service.services.users.users import Users
from auth_service.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """One of each, for all services that need it."""

    settings: Settings
    redis: RedisClient
    limiter: RateLimiter
    code_store: CodeStore
    code_limiter: CodeLimiter
    throttle: LoginThrottle
    users: Users
    passwords: Passwords
    signing_keys: SigningKeys
    history: AuditLog
    outbox: Outbox
    security_notifications: SecurityNotifications
    letters: Sealer
    """Seals what letters say, from the outbox to the mailer."""
    cursors: Cursors

    def one_time_codes(
        self, kind: EmailKind, *, unbound: UnboundAttempts, reveals_daily_cap: bool = False
    ) -> OneTimeCodes:
        """The codes that emails of one kind carry."""
        return OneTimeCodes(
            kind=kind,
            store=self.code_store,
            limiter=self.code_limiter,
            outbox=self.outbox,
            unbound=unbound,
            reveals_daily_cap=reveals_daily_cap,
        )


def shared_parts(settings: Settings) -> Shared:
    """Make all of it. Opens no connection."""
    if settings.redis_url is None:
        raise ValueError("settings have to be completed before they are wired")
    redis = RedisClient(url=settings.redis_url, connections=settings.web_threads + 1)
    limiter = RateLimiter(
        store=redis,
        digests=Digests(settings.secret("code_key"), purpose="limits"),
        local=LocalRateLimiter(),
        switched=settings.rate_limits,
    )
    letters = Sealer(settings.secret("outbox_key"), purpose="letters")
    cursors = Cursors(sealer=Sealer(settings.secret("session_key"), purpose="cursors"))
    outbox = Outbox(
        sealer=letters,
        codes_a_day=settings.limit_codes_a_day if settings.rate_limits == "on" else UNLIMITED,
    )
    return Shared(
        settings=settings,
        redis=redis,
        limiter=limiter,
        code_store=_code_store(settings, redis),
        code_limiter=_code_limiter(settings, limiter),
        throttle=_throttle(settings, redis),
        users=Users(),
        passwords=Passwords(
            hasher=PasswordHasher(at_once=settings.hashes_at_once, waiting=settings.hashes_waiting),
            min_length=settings.password_min_length,
            service_name=settings.service_name,
        ),
        signing_keys=SigningKeys(
            sealer=Sealer(settings.secret("keyring_key"), purpose="signing keys"),
            token_lifetime=settings.access_token_seconds,
        ),
        history=AuditLog(failures_a_day=settings.history_failures_a_day, cursors=cursors),
        outbox=outbox,
        security_notifications=SecurityNotifications(outbox=outbox),
        letters=letters,
        cursors=cursors,
    )


def _code_store(settings: Settings, redis: RedisClient) -> CodeStore:
    return CodeStore(
        redis=redis,
        digests=Digests(settings.secret("code_key"), purpose="challenges"),
        code_lifetime=settings.code_lifetime_seconds,
        ticket_lifetime=settings.ticket_lifetime_seconds,
        attempts=settings.code_guesses,
        total_attempts=settings.ticket_guesses,
    )


def _code_limiter(settings: Settings, limiter: RateLimiter) -> CodeLimiter:
    return CodeLimiter(
        limiter=limiter,
        limits=CodeLimits(
            per_address=settings.limit_codes.windows,
            per_address_and_network=settings.limit_codes_per_network.windows,
            global_limit=settings.limit_codes_altogether.windows,
        ),
    )


def _throttle(settings: Settings, redis: RedisClient) -> LoginThrottle:
    return LoginThrottle(
        store=redis,
        digests=Digests(settings.secret("code_key"), purpose="throttles"),
        free=settings.sign_in_free_attempts,
        first_pause=timedelta(seconds=1),
        longest_pause=timedelta(days=1),
        forget=timedelta(days=2),
        switched_on=settings.rate_limits == "on",
    )
