"""Factories of the flows, such as registration, sign-in, password reset, email change and account revert."""

from dataclasses import replace

from auth_service.adapters.crypto.device_tokens import DeviceTokens
from auth_service.adapters.crypto.keys import Digests
from auth_service.models.outbox_message import EmailKind
from auth_service.services.authorization.administrators import Administrators
from auth_service.services.authorization.roles import Roles
from auth_service.services.credentials.one_time_codes import OneTimeCodes, UnboundAttempts
from auth_service.services.flows.account_deletion import AccountDeletion
from auth_service.services.flows.account_revert import AccountRevert
from auth_service.services.flows.account_settings import AccountSettings
from auth_service.services.flows.data_export import DataExport
from auth_service.services.flows.email_change import EmailChangeFlow
from auth_service.services.flows.password_reset import PasswordReset
from auth_service.services.flows.reauthentication import Reauthentication
from auth_service.services.flows.registration import Registration
from auth_service.services.flows.sign_in import SignIn
from auth_service.services.flows.sign_in_stages import (
    FirstAdministrator,
    NewDeviceNotification,
    NotBanned,
    SecondFactorVerified,
    SignInStages,
)
from auth_service.services.flows.step_up import StepUp
from auth_service.services.flows.superuser import Superusers
from auth_service.services.flows.user_administration import UserAdministration
from auth_service.services.sessions.sessions import Sessions
from auth_service.services.users.import_users import UserImport
from auth_service.wiring.second_factors import flow_tickets, verification
from auth_service.wiring.shared import Shared


def registration(shared: Shared, reauthentication: Reauthentication, administrators: Administrators) -> Registration:
    """Build the registration flow."""
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
        reauthentication=reauthentication,
        administrators=administrators,
        tickets=Digests(shared.settings.secret("code_key"), purpose="finished registrations"),
        client_supplied_codes=not production,
        is_open=shared.settings.sign_up == "open",
    )


def sign_in_stages(
    shared: Shared, sessions: Sessions, account_revert: AccountRevert, administrators: Administrators
) -> SignInStages:
    """Build the stages in which every sign-in ends."""
    devices = _devices(shared)
    return SignInStages(
        devices=devices,
        not_banned=NotBanned(audit_log=shared.audit_log),
        stages=[
            SecondFactorVerified(
                tickets=flow_tickets(shared.settings),
                devices=devices,
                roles=shared.settings.second_factor_roles,
                trusts_devices=bool(shared.settings.device_trust_seconds),
            ),
            FirstAdministrator(administrators=administrators),
            NewDeviceNotification(account_revert=account_revert),
        ],
        sessions=sessions,
        device_trust=shared.settings.device_trust_seconds,
    )


def sign_in(shared: Shared, stages: SignInStages) -> SignIn:
    """Build sign-in by password and by emailed code."""
    settings = shared.settings
    return SignIn(
        users=shared.users,
        passwords=shared.passwords,
        codes=shared.one_time_codes(EmailKind.SIGN_IN_CODE, unbound=UnboundAttempts.COUNTED_APART),
        audit_log=shared.audit_log,
        throttle=replace(shared.throttle, global_limit=settings.limit_failed_sign_ins.windows),
        stages=stages,
    )


def password_reset(shared: Shared, sessions: Sessions) -> PasswordReset:
    """Build the password reset by emailed code."""
    return PasswordReset(
        users=shared.users,
        passwords=shared.passwords,
        codes=_reset_codes(shared),
        sessions=sessions,
        audit_log=shared.audit_log,
        security_notifications=shared.security_notifications,
    )


def reauthentication(shared: Shared) -> Reauthentication:
    """Build the check that a signed-in user proves the password again."""
    return Reauthentication(
        passwords=shared.passwords,
        audit_log=shared.audit_log,
        throttle=shared.throttle,
        max_age=shared.settings.reauthentication_seconds,
        devices=_devices(shared),
    )


def account_deletion(shared: Shared, account_revert: AccountRevert, administrators: Administrators) -> AccountDeletion:
    """Build the account deletion, by the user or by an administrator."""
    return AccountDeletion(
        users=shared.users,
        administrators=administrators,
        account_revert=account_revert,
        audit_log=shared.audit_log,
        security_notifications=shared.security_notifications,
        outbox=shared.outbox,
    )


def user_administration(
    shared: Shared, deletion: AccountDeletion, administrators: Administrators
) -> UserAdministration:
    """Build bans, forced password resets and deletions by administrators."""
    return UserAdministration(
        users=shared.users,
        administrators=administrators,
        deletion=deletion,
        reset_codes=_reset_codes(shared),
        audit_log=shared.audit_log,
        security_notifications=shared.security_notifications,
    )


def account_settings(
    shared: Shared, sessions: Sessions, reauthentication: Reauthentication, deletion: AccountDeletion
) -> AccountSettings:
    """Build the account settings: password change, language of emails, account deletion."""
    return AccountSettings(
        users=shared.users,
        passwords=shared.passwords,
        reauthentication=reauthentication,
        codes=shared.one_time_codes(EmailKind.DELETION_CODE, unbound=UnboundAttempts.REFUSED, reveals_daily_cap=True),
        sessions=sessions,
        deletion=deletion,
        audit_log=shared.audit_log,
        security_notifications=shared.security_notifications,
    )


def email_change(shared: Shared, account_revert: AccountRevert, reauthentication: Reauthentication) -> EmailChangeFlow:
    """Build the email change."""
    return EmailChangeFlow(
        users=shared.users,
        reauthentication=reauthentication,
        codes=shared.one_time_codes(EmailKind.EMAIL_CODE, unbound=UnboundAttempts.REFUSED),
        account_revert=account_revert,
        audit_log=shared.audit_log,
        security_notifications=shared.security_notifications,
        limiter=shared.limiter,
        per_user=shared.settings.limit_email_changes.windows,
    )


def step_up(shared: Shared, sessions: Sessions, reauthentication: Reauthentication) -> StepUp:
    """Build reauthentication with a new session."""
    return StepUp(
        users=shared.users,
        reauthentication=reauthentication,
        second_factors=verification(shared),
        codes=shared.one_time_codes(
            EmailKind.REAUTHENTICATION_CODE, unbound=UnboundAttempts.REFUSED, reveals_daily_cap=True
        ),
        sessions=sessions,
    )


def superusers(shared: Shared, roles: Roles, administrators: Administrators) -> Superusers:
    """Build the creation of administrators by the operator."""
    return Superusers(
        users=shared.users,
        user_import=UserImport(),
        passwords=shared.passwords,
        roles=roles,
        administrators=administrators,
    )


def account_revert(shared: Shared, sessions: Sessions) -> AccountRevert:
    """Build the account revert: links in security notifications that end an account takeover."""
    settings = shared.settings
    return AccountRevert(
        users=shared.users,
        sessions=sessions,
        security_notifications=shared.security_notifications,
        audit_log=shared.audit_log,
        digests=Digests(settings.secret("session_key"), purpose="undos"),
        page=f"{settings.public_url}/account/undo",
        ttl=settings.undo_seconds,
    )


def data_export(shared: Shared) -> DataExport:
    """Build the export of the data of an account."""
    return DataExport(audit_log=shared.audit_log)


def _reset_codes(shared: Shared) -> OneTimeCodes:
    return shared.one_time_codes(EmailKind.RECOVERY_CODE, unbound=UnboundAttempts.COUNTED_APART)


def _devices(shared: Shared) -> DeviceTokens:
    return DeviceTokens(shared.settings.secret("session_key"), ttl=shared.settings.device_lifetime_seconds)
