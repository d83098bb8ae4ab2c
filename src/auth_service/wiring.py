"""Who gets what: the one place where settings become services."""

from dataclasses import dataclass

from auth_service.adapters.challenges import Challenges
from auth_service.adapters.crypto import Digests, Sealer
from auth_service.adapters.hasher import Hasher
from auth_service.adapters.inbox import Inbox
from auth_service.adapters.limiter import Limiter, LocalLimiter
from auth_service.adapters.mailer import Mailer
from auth_service.adapters.postman import Postman
from auth_service.adapters.redis_store import RedisStore
from auth_service.adapters.smtp_url import SmtpUrl
from auth_service.services.delivery import Delivery
from auth_service.services.outbox import Outbox
from auth_service.services.passwords import Passwords
from auth_service.services.registration import CodeLimits, Registration
from auth_service.services.users import Users
from auth_service.settings import Settings, SettingsRefused


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """Everything that answers requests and delivers letters, wired for one deployment."""

    settings: Settings
    redis: RedisStore
    limiter: Limiter
    users: Users
    registration: Registration
    outbox: Outbox
    delivery: Delivery
    inbox: Inbox | None
    """The dev inbox; None where letters leave by SMTP."""


def database_connections(settings: Settings) -> int:
    """Connections of one process: its threads, and one for health and metrics."""
    return settings.database_connections or settings.web_threads + 1


def wire(settings: Settings) -> Services:
    """Put the services together. Opens no connection: those come with the first use, after a fork."""
    if not (settings.redis_url and settings.code_key and settings.outbox_key):
        raise ValueError("settings have to be completed before they are wired")
    code_key = settings.code_key.get_secret_value()
    redis = RedisStore(url=settings.redis_url, connections=settings.web_threads + 1)
    limiter = Limiter(
        store=redis,
        digests=Digests(code_key, purpose="limits"),
        local=LocalLimiter(),
        switched=settings.rate_limits,
    )
    if settings.smtp_url is not None:
        _check_smtp_url(settings.smtp_url.get_secret_value())
    users = Users()
    outbox = Outbox(
        sealer=Sealer(settings.outbox_key.get_secret_value(), purpose="letters"),
        lease=settings.outbox_lease_seconds,
        longest_sending=settings.mail_timeout_seconds,
        codes_a_day=settings.limit_codes_a_day if settings.rate_limits == "on" else _UNLIMITED,
    )
    registration = Registration(
        users=users,
        challenges=Challenges(
            store=redis,
            digests=Digests(code_key, purpose="challenges"),
            purpose="registration",
            code_lifetime=settings.code_lifetime_seconds,
            ticket_lifetime=settings.ticket_lifetime_seconds,
            guesses=settings.code_guesses,
            total_guesses=settings.ticket_guesses,
        ),
        limiter=limiter,
        limits=CodeLimits(
            per_address=settings.limit_codes.windows,
            per_address_and_network=settings.limit_codes_per_network.windows,
            altogether=settings.limit_codes_altogether.windows,
        ),
        outbox=outbox,
        passwords=Passwords(
            hasher=Hasher(at_once=settings.hashes_at_once),
            shortest=settings.password_min_length,
            service_name=settings.service_name,
        ),
        tickets=Digests(code_key, purpose="finished registrations"),
        callers_bring_codes=not settings.production,
        tickets_required=settings.production,
    )
    return Services(
        settings=settings,
        redis=redis,
        limiter=limiter,
        users=users,
        registration=registration,
        outbox=outbox,
        delivery=Delivery(outbox=outbox, sender=settings.sender, service_name=settings.service_name),
        inbox=Inbox(settings.inbox_dir) if settings.inbox_dir else None,
    )


_UNLIMITED = 10**9


def _check_smtp_url(url: str) -> None:
    """Refuse a start that could not send a letter: the API's as well as the mailer's."""
    try:
        SmtpUrl.parse(url)
    except ValueError as refused:
        raise SettingsRefused(f"SMTP_URL: {refused}") from None


def postman(settings: Settings) -> Postman:
    """Whoever carries letters in this deployment; one for each sending thread."""
    if settings.inbox_dir:
        return Inbox(settings.inbox_dir)
    if settings.smtp_url is None:
        raise ValueError("settings name neither SMTP nor a dev inbox")
    return Mailer(settings.smtp_url.get_secret_value(), timeout=settings.mail_timeout_seconds)
