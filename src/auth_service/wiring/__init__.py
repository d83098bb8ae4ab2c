"""Who gets what: the one place where settings become services."""

from dataclasses import dataclass, replace

from auth_service.adapters.crypto.access_tokens import AccessTokens
from auth_service.adapters.crypto.device_tokens import DeviceTokens
from auth_service.adapters.crypto.keys import Digests
from auth_service.adapters.crypto.refresh_tokens import RefreshTokens
from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.adapters.email.smtp_transport import SmtpTransport
from auth_service.adapters.email.smtp_url import SmtpUrl
from auth_service.adapters.email.transport import MailTransport
from auth_service.adapters.redis.client import RedisClient
from auth_service.adapters.redis.rate_limiter import RateLimiter
from auth_service.models.outbox_message import EmailKind
from auth_service.services.audit.events import AuditLog
from auth_service.services.credentials.one_time_codes import UnboundAttempts
from auth_service.services.email.delivery import Delivery
from auth_service.services.email.outbox import Outbox
from auth_service.services.email.queue import MailQueue
from auth_service.services.flows.account_revert import AccountRevert
from auth_service.services.flows.account_settings import AccountSettings
from auth_service.services.flows.data_export import DataExport
from auth_service.services.flows.email_change import EmailChangeFlow
from auth_service.services.flows.password_reset import PasswordReset
from auth_service.services.flows.reauthentication import Reauthentication
from auth_service.services.flows.registration import Registration
from auth_service.services.flows.sign_in import SignIn
from auth_service.services.flows.sign_in_stages import NewDeviceNotification, SignInStages
from auth_service.services.maintenance import Maintenance, Retention
from auth_service.services.sessions.introspection import Introspection
from auth_service.services.sessions.my_sessions import MySessions
from auth_service.services.sessions.sessions import Sessions
from auth_service.services.tokens.service_keys import ServiceKeys
from auth_service.services.tokens.signing_keys import SigningKeys
from auth_service.services.users.import_users import UserImport
from auth_service.services.users.users import Users
from auth_service.settings import Settings, SettingsRefused
from auth_service.wiring.shared import Shared, shared_parts

REPEATS = 64
"""Requests that may finish a registration again before the wrong passwords among them cost a pause."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """Everything that answers requests and delivers letters, wired for one deployment."""

    settings: Settings
    redis: RedisClient
    limiter: RateLimiter
    users: Users
    registration: Registration
    sign_in: SignIn
    recovery: PasswordReset
    account: AccountSettings
    email_change_flow: EmailChangeFlow
    export: DataExport
    imports: UserImport
    account_revert: AccountRevert
    sessions: Sessions
    my_sessions: MySessions
    signing_keys: SigningKeys
    introspection: Introspection
    service_keys: ServiceKeys
    history: AuditLog
    outbox: Outbox
    maintenance: Maintenance
    delivery: Delivery
    inbox: DevInbox | None
    """The dev inbox; None where letters leave by SMTP."""


def database_connections(settings: Settings) -> int:
    """Connections of one process: its threads, and one for health and metrics."""
    return settings.database_connections or settings.web_threads + 1


def wire(settings: Settings) -> Services:
    """Put the services together. Opens no connection: those come with the first use, after a fork."""
    if settings.smtp_url is not None:
        _check_smtp_url(settings.smtp_url.get_secret_value())
    shared = shared_parts(settings)
    sessions = _sessions(shared)
    account_revert = _account_revert(shared, sessions)
    reauthentication = _reauthentication(shared, sessions)
    return Services(
        settings=settings,
        redis=shared.redis,
        limiter=shared.limiter,
        users=shared.users,
        registration=_registration(shared, reauthentication),
        sign_in=_sign_in(shared, sessions, account_revert),
        recovery=_recovery(shared, sessions),
        account=_account(shared, sessions, account_revert, reauthentication),
        email_change_flow=_email_changes(shared, account_revert, reauthentication),
        export=DataExport(history=shared.history),
        imports=UserImport(),
        account_revert=account_revert,
        sessions=sessions,
        my_sessions=MySessions(history=shared.history, cursors=shared.cursors),
        signing_keys=shared.signing_keys,
        introspection=Introspection(sessions=sessions),
        service_keys=ServiceKeys(),
        history=shared.history,
        outbox=shared.outbox,
        maintenance=_maintenance(shared, account_revert),
        delivery=_delivery(shared),
        inbox=DevInbox(settings.inbox_dir) if settings.inbox_dir else None,
    )


def _registration(shared: Shared, reauthentication: Reauthentication) -> Registration:
    # Finishing may be repeated, and by many at once: they are no guesses as long as the password is the right one.
    repeats = replace(shared.throttle, free=REPEATS)
    production = shared.settings.production
    return Registration(
        users=shared.users,
        codes=shared.one_time_codes(
            EmailKind.REGISTRATION_CODE,
            unbound=UnboundAttempts.REFUSED if production else UnboundAttempts.AS_BOUND,
            reveals_daily_cap=True,
        ),
        outbox=shared.outbox,
        passwords=shared.passwords,
        reauthentication=replace(reauthentication, throttle=repeats, counted_as="registration_repeats"),
        tickets=Digests(shared.settings.secret("code_key"), purpose="finished registrations"),
        client_supplied_codes=not production,
    )


def _sessions(shared: Shared) -> Sessions:
    settings = shared.settings
    return Sessions(
        signing_keys=shared.signing_keys,
        access_tokens=AccessTokens(
            issuer=settings.public_url, audience=settings.token_audience, lifetime=settings.access_token_seconds
        ),
        refresh_tokens=RefreshTokens(settings.secret("session_key")),
        security_notifications=shared.security_notifications,
        idle=settings.session_idle_seconds,
        absolute=settings.session_absolute_seconds,
        grace=settings.refresh_grace_seconds,
    )


def _account_revert(shared: Shared, sessions: Sessions) -> AccountRevert:
    settings = shared.settings
    return AccountRevert(
        users=shared.users,
        sessions=sessions,
        security_notifications=shared.security_notifications,
        history=shared.history,
        digests=Digests(settings.secret("session_key"), purpose="undos"),
        page=f"{settings.public_url}/account/undo",
        ttl=settings.undo_seconds,
    )


def _sign_in(shared: Shared, sessions: Sessions, account_revert: AccountRevert) -> SignIn:
    settings = shared.settings
    return SignIn(
        users=shared.users,
        passwords=shared.passwords,
        codes=shared.one_time_codes(EmailKind.SIGN_IN_CODE, unbound=UnboundAttempts.COUNTED_APART),
        history=shared.history,
        throttle=replace(shared.throttle, global_limit=settings.limit_failed_sign_ins.windows),
        stages=SignInStages(
            devices=DeviceTokens(settings.secret("session_key"), lives=settings.device_lifetime_seconds),
            stages=[NewDeviceNotification(account_revert=account_revert)],
            sessions=sessions,
        ),
    )


def _recovery(shared: Shared, sessions: Sessions) -> PasswordReset:
    return PasswordReset(
        users=shared.users,
        passwords=shared.passwords,
        codes=shared.one_time_codes(EmailKind.RECOVERY_CODE, unbound=UnboundAttempts.COUNTED_APART),
        sessions=sessions,
        history=shared.history,
        security_notifications=shared.security_notifications,
    )


def _reauthentication(shared: Shared, sessions: Sessions) -> Reauthentication:
    return Reauthentication(
        passwords=shared.passwords,
        sessions=sessions,
        history=shared.history,
        throttle=shared.throttle,
        max_age=shared.settings.reauthentication_seconds,
    )


def _account(
    shared: Shared, sessions: Sessions, account_revert: AccountRevert, reauthentication: Reauthentication
) -> AccountSettings:
    return AccountSettings(
        users=shared.users,
        passwords=shared.passwords,
        reauthentication=reauthentication,
        codes=shared.one_time_codes(EmailKind.DELETION_CODE, unbound=UnboundAttempts.REFUSED, reveals_daily_cap=True),
        sessions=sessions,
        account_revert=account_revert,
        history=shared.history,
        security_notifications=shared.security_notifications,
        outbox=shared.outbox,
    )


def _email_changes(
    shared: Shared, account_revert: AccountRevert, reauthentication: Reauthentication
) -> EmailChangeFlow:
    return EmailChangeFlow(
        users=shared.users,
        reauthentication=reauthentication,
        codes=shared.one_time_codes(EmailKind.EMAIL_CODE, unbound=UnboundAttempts.REFUSED),
        account_revert=account_revert,
        history=shared.history,
        security_notifications=shared.security_notifications,
        limiter=shared.limiter,
        per_user=shared.settings.limit_email_changes.windows,
    )


def _maintenance(shared: Shared, account_revert: AccountRevert) -> Maintenance:
    settings = shared.settings
    return Maintenance(
        users=shared.users,
        account_revert=account_revert,
        outbox=shared.outbox,
        database_url=settings.database_url or "",
        retention=Retention(
            temporary_users=settings.temporary_user_lifetime_seconds,
            emails=settings.letter_lifetime_seconds,
            ended_sessions=settings.ended_session_lifetime_seconds,
            audit_events=settings.history_lifetime_seconds,
        ),
    )


def _delivery(shared: Shared) -> Delivery:
    settings = shared.settings
    return Delivery(
        leases=MailQueue(
            sealer=shared.letters,
            lease=settings.outbox_lease_seconds,
            longest_sending=settings.mail_timeout_seconds,
        ),
        sender=settings.sender,
        service_name=settings.service_name,
    )


def _check_smtp_url(url: str) -> None:
    """Refuse a start that could not send a letter: the API's as well as the mailer's."""
    try:
        SmtpUrl.parse(url)
    except ValueError as refused:
        raise SettingsRefused(f"SMTP_URL: {refused}") from None


def mail_transport(settings: Settings) -> MailTransport:
    """Whoever carries letters in this deployment; one for each sending thread."""
    if settings.inbox_dir:
        return DevInbox(settings.inbox_dir)
    if settings.smtp_url is None:
        raise ValueError("settings name neither SMTP nor a dev inbox")
    return SmtpTransport(settings.smtp_url.get_secret_value(), timeout=settings.mail_timeout_seconds)
