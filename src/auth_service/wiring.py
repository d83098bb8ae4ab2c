"""Who gets what: the one place where settings become services."""

from dataclasses import dataclass, replace
from datetime import timedelta

from auth_service.adapters.access_tokens import AccessTokens
from auth_service.adapters.challenges import Challenges
from auth_service.adapters.crypto import Digests, Sealer
from auth_service.adapters.devices import DeviceTokens
from auth_service.adapters.hasher import Hasher
from auth_service.adapters.inbox import Inbox
from auth_service.adapters.limiter import Limiter, LocalLimiter
from auth_service.adapters.mailer import Mailer
from auth_service.adapters.postman import Postman
from auth_service.adapters.redis_store import RedisStore
from auth_service.adapters.refresh_tokens import RefreshTokens
from auth_service.adapters.smtp_url import SmtpUrl
from auth_service.adapters.throttle import Throttle
from auth_service.services.account import Account
from auth_service.services.codes import CodeLimiter, CodeLimits, Codes
from auth_service.services.delivery import Delivery
from auth_service.services.email_changes import EmailChanges
from auth_service.services.export import Export
from auth_service.services.history import History
from auth_service.services.imports import Imports
from auth_service.services.introspection import Introspection
from auth_service.services.keyring import Keyring
from auth_service.services.leases import Leases
from auth_service.services.maintenance import Kept, Maintenance
from auth_service.services.notices import Notices
from auth_service.services.outbox import Outbox
from auth_service.services.passwords import Passwords
from auth_service.services.proofs import Proofs
from auth_service.services.recovery import Recovery
from auth_service.services.registration import Registration
from auth_service.services.service_keys import ServiceKeys
from auth_service.services.sessions import Sessions
from auth_service.services.sign_in import SignIn
from auth_service.services.undos import Undos
from auth_service.services.users import Users
from auth_service.settings import SECRETS, Settings, SettingsRefused


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """Everything that answers requests and delivers letters, wired for one deployment."""

    settings: Settings
    redis: RedisStore
    limiter: Limiter
    users: Users
    registration: Registration
    sign_in: SignIn
    recovery: Recovery
    account: Account
    email_changes: EmailChanges
    export: Export
    imports: Imports
    undos: Undos
    sessions: Sessions
    keyring: Keyring
    introspection: Introspection
    service_keys: ServiceKeys
    history: History
    outbox: Outbox
    maintenance: Maintenance
    delivery: Delivery
    inbox: Inbox | None
    """The dev inbox; None where letters leave by SMTP."""


def database_connections(settings: Settings) -> int:
    """Connections of one process: its threads, and one for health and metrics."""
    return settings.database_connections or settings.web_threads + 1


def wire(settings: Settings) -> Services:
    """Put the services together. Opens no connection: those come with the first use, after a fork."""
    if settings.redis_url is None:
        raise ValueError("settings have to be completed before they are wired")
    code_key, outbox_key, session_key, keyring_key = (settings.secret(name) for name in SECRETS)
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
    letters = Sealer(outbox_key, purpose="letters")
    outbox = Outbox(
        sealer=letters,
        codes_a_day=settings.limit_codes_a_day if settings.rate_limits == "on" else _UNLIMITED,
    )
    passwords = Passwords(
        hasher=Hasher(at_once=settings.hashes_at_once, waiting=settings.hashes_waiting),
        shortest=settings.password_min_length,
        service_name=settings.service_name,
    )
    code_limiter = CodeLimiter(
        limiter=limiter,
        limits=CodeLimits(
            per_address=settings.limit_codes.windows,
            per_address_and_network=settings.limit_codes_per_network.windows,
            altogether=settings.limit_codes_altogether.windows,
        ),
    )

    def challenges(purpose: str) -> Challenges:
        return Challenges(
            store=redis,
            digests=Digests(code_key, purpose="challenges"),
            purpose=purpose,
            code_lifetime=settings.code_lifetime_seconds,
            ticket_lifetime=settings.ticket_lifetime_seconds,
            guesses=settings.code_guesses,
            total_guesses=settings.ticket_guesses,
        )

    def codes(kind: str) -> Codes:
        return Codes(kind=kind, challenges=challenges(kind), limiter=code_limiter, outbox=outbox)

    registration = Registration(
        users=users,
        challenges=challenges("registration"),
        limiter=code_limiter,
        outbox=outbox,
        passwords=passwords,
        tickets=Digests(code_key, purpose="finished registrations"),
        callers_bring_codes=not settings.production,
        tickets_required=settings.production,
    )
    keyring = Keyring(sealer=Sealer(keyring_key, purpose="signing keys"), token_lifetime=settings.access_token_seconds)
    history = History(
        failures_a_day=settings.history_failures_a_day, cursors=Sealer(session_key, purpose="cursors of the history")
    )
    notices = Notices(outbox=outbox)
    sessions = Sessions(
        keyring=keyring,
        access=AccessTokens(
            issuer=settings.public_url, audience=settings.token_audience, lifetime=settings.access_token_seconds
        ),
        refreshes=RefreshTokens(session_key),
        history=history,
        notices=notices,
        idle=settings.session_idle_seconds,
        absolute=settings.session_absolute_seconds,
        grace=settings.refresh_grace_seconds,
    )
    undos = Undos(
        users=users,
        sessions=sessions,
        notices=notices,
        history=history,
        digests=Digests(session_key, purpose="undos"),
        page=f"{settings.public_url.rstrip('/')}/account/undo",
        lives=settings.undo_seconds,
    )
    throttle = Throttle(
        store=redis,
        digests=Digests(code_key, purpose="throttles"),
        free=settings.sign_in_free_attempts,
        first_pause=timedelta(seconds=1),
        longest_pause=timedelta(days=1),
        forget=timedelta(days=2),
        switched_on=settings.rate_limits == "on",
    )
    sign_in = SignIn(
        users=users,
        passwords=passwords,
        codes=codes("sign_in_code"),
        sessions=sessions,
        history=history,
        undos=undos,
        throttle=replace(throttle, altogether=settings.limit_failed_sign_ins.windows),
        devices=DeviceTokens(session_key),
    )
    maintenance = Maintenance(
        users=users,
        undos=undos,
        outbox=outbox,
        database_url=settings.database_url or "",
        kept=Kept(
            temporary_users=settings.temporary_user_lifetime_seconds,
            letters=settings.letter_lifetime_seconds,
            ended_sessions=settings.ended_session_lifetime_seconds,
            history=settings.history_lifetime_seconds,
        ),
    )
    recovery = Recovery(
        users=users,
        passwords=passwords,
        codes=codes("recovery_code"),
        sessions=sessions,
        history=history,
        notices=notices,
    )
    proofs = Proofs(
        passwords=passwords,
        sessions=sessions,
        history=history,
        throttle=throttle,
        fresh_for=settings.reauthentication_seconds,
    )
    account = Account(
        users=users,
        passwords=passwords,
        proofs=proofs,
        codes=codes("deletion_code"),
        sessions=sessions,
        undos=undos,
        history=history,
        notices=notices,
        outbox=outbox,
    )
    email_changes = EmailChanges(
        users=users,
        proofs=proofs,
        codes=codes("email_code"),
        undos=undos,
        history=history,
        notices=notices,
        limiter=limiter,
        per_user=settings.limit_email_changes.windows,
    )
    return Services(
        settings=settings,
        redis=redis,
        limiter=limiter,
        users=users,
        registration=registration,
        sign_in=sign_in,
        recovery=recovery,
        account=account,
        email_changes=email_changes,
        export=Export(history=history),
        imports=Imports(),
        undos=undos,
        sessions=sessions,
        keyring=keyring,
        introspection=Introspection(sessions=sessions),
        service_keys=ServiceKeys(),
        history=history,
        outbox=outbox,
        maintenance=maintenance,
        delivery=Delivery(
            leases=Leases(
                sealer=letters,
                lease=settings.outbox_lease_seconds,
                longest_sending=settings.mail_timeout_seconds,
            ),
            sender=settings.sender,
            service_name=settings.service_name,
        ),
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
