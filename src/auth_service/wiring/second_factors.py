"""Factories of second factors: verification, second step, enrolment, reset, delayed reset."""

from auth_service.adapters.crypto.flow_tickets import FlowTickets
from auth_service.adapters.crypto.keys import Digests
from auth_service.adapters.crypto.totp import TotpSecrets
from auth_service.models.outbox_message import EmailKind
from auth_service.services.authorization.administrators import Administrators
from auth_service.services.credentials.one_time_codes import UnboundAttempts
from auth_service.services.credentials.totp import Totp
from auth_service.services.flows.account_revert import AccountRevert
from auth_service.services.flows.second_factor.delayed_reset import CancelLinks, DelayedResets, DueResets
from auth_service.services.flows.second_factor.enrolment import SecondFactorEnrolment
from auth_service.services.flows.second_factor.reset import SecondFactorReset
from auth_service.services.flows.second_factor.second_step import SecondStep
from auth_service.services.flows.second_factor.verification import SecondFactorVerification
from auth_service.services.flows.sign_in_stages import SignInStages
from auth_service.services.sessions.sessions import Sessions
from auth_service.settings import Settings
from auth_service.wiring.shared import Shared


def flow_tickets(settings: Settings) -> FlowTickets:
    """Build the sealed flow tickets of second steps and passkey ceremonies."""
    return FlowTickets(settings.secret("second_factor_key"))


def totp(settings: Settings) -> Totp:
    """Build the TOTP secrets of users and the verification of their codes."""
    previous = settings.second_factor_key_previous
    return Totp(
        secrets=TotpSecrets(
            settings.secret("second_factor_key"),
            previous=None if previous is None else previous.get_secret_value(),
        )
    )


def verification(shared: Shared) -> SecondFactorVerification:
    """Build the verification of codes of the second factor."""
    return SecondFactorVerification(
        totp=totp(shared.settings),
        audit_log=shared.audit_log,
        security_notifications=shared.security_notifications,
    )


def second_step(shared: Shared, stages: SignInStages, administrators: Administrators) -> SecondStep:
    """Build the second step of the sign-in, which ends in the same stages as the first one."""
    return SecondStep(
        users=shared.users,
        administrators=administrators,
        tickets=flow_tickets(shared.settings),
        verification=verification(shared),
        stages=stages,
    )


def enrolment(shared: Shared, sessions: Sessions) -> SecondFactorEnrolment:
    """Build the changes of the second factors by their user."""
    return SecondFactorEnrolment(
        users=shared.users,
        totp=totp(shared.settings),
        sessions=sessions,
        audit_log=shared.audit_log,
        security_notifications=shared.security_notifications,
        roles=shared.settings.second_factor_roles,
        issuer=shared.settings.service_name,
    )


def reset(shared: Shared, account_revert: AccountRevert) -> SecondFactorReset:
    """Build the reset of second factors."""
    return SecondFactorReset(
        audit_log=shared.audit_log,
        security_notifications=shared.security_notifications,
        account_revert=account_revert,
    )


def delayed_resets(shared: Shared, second_step: SecondStep) -> DelayedResets:
    """Build the requests for delayed resets of second factors, and their cancel links."""
    settings = shared.settings
    return DelayedResets(
        second_step=second_step,
        codes=shared.one_time_codes(
            # The client has proved the first factor, so that a code belongs to the user and not to one ticket: the user
            # can sign in again while the email is on its way, and a new ticket grants no further attempts.
            EmailKind.SECOND_FACTOR_RESET_CODE,
            unbound=UnboundAttempts.AS_BOUND,
            reveals_daily_cap=True,
        ),
        links=_cancel_links(settings),
        audit_log=shared.audit_log,
        security_notifications=shared.security_notifications,
        delay=settings.second_factor_reset_seconds,
        roles=settings.second_factor_roles,
    )


def due_resets(shared: Shared, reset: SecondFactorReset) -> DueResets:
    """Build what the mail worker does for delayed resets."""
    return DueResets(
        reset=reset,
        links=_cancel_links(shared.settings),
        security_notifications=shared.security_notifications,
        is_on=bool(shared.settings.second_factor_reset_seconds),
        roles=shared.settings.second_factor_roles,
    )


def _cancel_links(settings: Settings) -> CancelLinks:
    return CancelLinks(
        digests=Digests(settings.secret("session_key"), purpose="second factor resets"),
        page=f"{settings.public_url}/account/second_factor_reset",
    )
