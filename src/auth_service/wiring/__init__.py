"""Service factories: `wire` builds every service of one deployment from its settings."""

from dataclasses import dataclass

from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.adapters.redis.client import RedisClient
from auth_service.adapters.redis.rate_limiter import RateLimiter
from auth_service.services.audit.events import AuditLog
from auth_service.services.audit.export import AuditExport
from auth_service.services.audit.seals import AuditSealing
from auth_service.services.audit.search import AuditSearch
from auth_service.services.authorization.administrators import Administrators
from auth_service.services.authorization.roles import Roles
from auth_service.services.credentials.totp import Totp
from auth_service.services.email.delivery import Delivery
from auth_service.services.email.outbox import Outbox
from auth_service.services.email.outbox_search import OutboxSearch
from auth_service.services.flows.account_revert import AccountRevert
from auth_service.services.flows.account_settings import AccountSettings
from auth_service.services.flows.data_export import DataExport
from auth_service.services.flows.email_change import EmailChangeFlow
from auth_service.services.flows.invitations.acceptance import InvitationAcceptance
from auth_service.services.flows.invitations.invitations import Invitations
from auth_service.services.flows.password_reset import PasswordReset
from auth_service.services.flows.registration import Registration
from auth_service.services.flows.second_factor.delayed_reset import DelayedResets, DueResets
from auth_service.services.flows.second_factor.enrolment import SecondFactorEnrolment
from auth_service.services.flows.second_factor.reset import SecondFactorReset
from auth_service.services.flows.second_factor.second_step import SecondStep
from auth_service.services.flows.sign_in import SignIn
from auth_service.services.flows.step_up import StepUp
from auth_service.services.flows.superuser import Superusers
from auth_service.services.flows.user_administration import UserAdministration
from auth_service.services.maintenance import Maintenance
from auth_service.services.sessions.introspection import Introspection
from auth_service.services.sessions.my_sessions import MySessions
from auth_service.services.sessions.sessions import Sessions
from auth_service.services.sessions.token_revocation import TokenRevocation
from auth_service.services.sessions.user_sessions import UserSessions
from auth_service.services.tokens.service_keys import ServiceKeys
from auth_service.services.tokens.signing_keys import SigningKeys
from auth_service.services.users.import_users import UserImport
from auth_service.services.users.user_search import UserSearch
from auth_service.services.users.users import Users
from auth_service.settings import Settings
from auth_service.wiring import (
    audit,
    authorization,
    email,
    flows,
    invitations,
    maintenance,
    second_factors,
    sessions,
    tokens,
    users,
)
from auth_service.wiring.email import mail_transport
from auth_service.wiring.passkeys import PasskeyFlows, passkey_flows
from auth_service.wiring.shared import database_connections, shared_parts

__all__ = ["Services", "database_connections", "mail_transport", "wire"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """All services of one deployment, for the API, the mail worker and the commands."""

    settings: Settings
    redis: RedisClient
    limiter: RateLimiter
    users: Users
    user_search: UserSearch
    registration: Registration
    sign_in: SignIn
    second_step: SecondStep
    second_factors: SecondFactorEnrolment
    second_factor_reset: SecondFactorReset
    delayed_resets: DelayedResets
    due_resets: DueResets
    totp: Totp
    passkeys: PasskeyFlows
    password_reset: PasswordReset
    account: AccountSettings
    user_administration: UserAdministration
    step_up: StepUp
    email_change_flow: EmailChangeFlow
    export: DataExport
    user_import: UserImport
    account_revert: AccountRevert
    sessions: Sessions
    my_sessions: MySessions
    user_sessions: UserSessions
    signing_keys: SigningKeys
    introspection: Introspection
    token_revocation: TokenRevocation
    service_keys: ServiceKeys
    roles: Roles
    superusers: Superusers
    invitations: Invitations
    invitation_acceptance: InvitationAcceptance
    administrators: Administrators
    audit_log: AuditLog
    audit_search: AuditSearch
    audit_export: AuditExport
    audit_sealing: AuditSealing
    outbox: Outbox
    outbox_search: OutboxSearch
    maintenance: Maintenance
    delivery: Delivery
    inbox: DevInbox | None
    """The dev inbox; None if emails are sent by SMTP."""


def wire(settings: Settings) -> Services:
    """Build the services from completed settings. Opens no connection: the first use does, after the fork.

    Raises ValueError for settings that are not `completed`.
    """
    shared = shared_parts(settings)
    session_service = sessions.sessions(shared)
    account_revert = flows.account_revert(shared, session_service)
    administrators = authorization.administrators(shared)
    roles = authorization.roles(shared, administrators)
    stages = flows.sign_in_stages(shared, session_service, account_revert, administrators)
    second_step = second_factors.second_step(shared, stages, administrators)
    second_factor_reset = second_factors.reset(shared, account_revert)
    reauthentication = flows.reauthentication(shared)
    deletion = flows.account_deletion(shared, account_revert, administrators)
    audit_search = audit.audit_search(shared.cursors)
    audit_sealing = audit.audit_sealing(settings, shared.signing_keys)
    service_keys = tokens.service_keys()
    invitation_service = invitations.invitations(shared, roles)
    return Services(
        settings=settings,
        redis=shared.redis,
        limiter=shared.limiter,
        users=shared.users,
        user_search=users.user_search(shared.cursors),
        registration=flows.registration(shared, reauthentication, administrators),
        sign_in=flows.sign_in(shared, stages),
        second_step=second_step,
        second_factors=second_factors.enrolment(shared, session_service),
        second_factor_reset=second_factor_reset,
        delayed_resets=second_factors.delayed_resets(shared, second_step),
        due_resets=second_factors.due_resets(shared, second_factor_reset),
        totp=second_factors.totp(settings),
        passkeys=passkey_flows(shared, session_service, stages, second_step, administrators),
        password_reset=flows.password_reset(shared, session_service),
        account=flows.account_settings(shared, session_service, reauthentication, deletion),
        user_administration=flows.user_administration(shared, deletion, administrators),
        step_up=flows.step_up(shared, session_service, reauthentication),
        email_change_flow=flows.email_change(shared, account_revert, reauthentication),
        export=flows.data_export(shared),
        user_import=users.user_import(),
        account_revert=account_revert,
        sessions=session_service,
        my_sessions=sessions.my_sessions(shared),
        user_sessions=sessions.user_sessions(shared),
        signing_keys=shared.signing_keys,
        introspection=sessions.introspection(session_service),
        token_revocation=sessions.token_revocation(session_service),
        service_keys=service_keys,
        roles=roles,
        superusers=flows.superusers(shared, roles, administrators),
        invitations=invitation_service,
        invitation_acceptance=invitations.invitation_acceptance(shared, roles, administrators, service_keys),
        administrators=administrators,
        audit_log=shared.audit_log,
        audit_search=audit_search,
        audit_sealing=audit_sealing,
        audit_export=audit.audit_export(audit_search, shared.audit_log),
        outbox=shared.outbox,
        outbox_search=email.outbox_search(shared.audit_log, shared.cursors),
        maintenance=maintenance.maintenance(shared, account_revert, invitation_service, audit_sealing),
        delivery=email.delivery(settings, shared.email_sealer),
        inbox=email.dev_inbox(settings),
    )
