"""Factories of second factors: verification, second step, enrolment, reset."""

from auth_service.adapters.crypto.flow_tickets import FlowTickets
from auth_service.adapters.crypto.totp import TotpSecrets
from auth_service.services.authorization.administrators import Administrators
from auth_service.services.credentials.totp import Totp
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


def reset(shared: Shared) -> SecondFactorReset:
    """Build the reset of second factors by administrators and operators."""
    return SecondFactorReset(audit_log=shared.audit_log, security_notifications=shared.security_notifications)
