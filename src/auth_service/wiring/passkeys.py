"""Factories of passkeys: the relying party, registration, sign-in, second step, reauthentication."""

from dataclasses import dataclass
from datetime import timedelta

from auth_service.adapters.crypto.flow_tickets import TTL
from auth_service.adapters.crypto.webauthn import RelyingParty
from auth_service.services.authorization.administrators import Administrators
from auth_service.services.credentials.passkeys import Passkeys
from auth_service.services.flows.second_factor.passkey_reauthentication import PasskeyReauthentication
from auth_service.services.flows.second_factor.passkey_registration import PasskeyRegistration
from auth_service.services.flows.second_factor.passkey_second_step import PasskeySecondStep
from auth_service.services.flows.second_factor.passkey_sign_in import PasskeySignIn
from auth_service.services.flows.second_factor.passkey_verification import PasskeyVerification
from auth_service.services.flows.second_factor.second_step import SecondStep
from auth_service.services.flows.sign_in_stages import SignInStages
from auth_service.services.sessions.sessions import Sessions
from auth_service.wiring.second_factors import flow_tickets
from auth_service.wiring.shared import Shared


@dataclass(frozen=True, kw_only=True, slots=True)
class PasskeyFlows:
    """The flows with passkeys."""

    passkeys: Passkeys
    registration: PasskeyRegistration
    sign_in: PasskeySignIn
    second_step: PasskeySecondStep
    reauthentication: PasskeyReauthentication


def passkey_flows(
    shared: Shared, sessions: Sessions, stages: SignInStages, step: SecondStep, administrators: Administrators
) -> PasskeyFlows:
    """Build the flows; a sign-in with a passkey ends in the stages of every sign-in."""
    settings, users, audit_log = shared.settings, shared.users, shared.audit_log
    notifications = shared.security_notifications
    party = RelyingParty(
        id=settings.relying_party_id,
        name=settings.service_name,
        origins=settings.passkey_origins,
        timeout_ms=TTL // timedelta(milliseconds=1),
    )
    passkeys = Passkeys(party=party, tickets=flow_tickets(settings))
    verification = PasskeyVerification(passkeys=passkeys, audit_log=audit_log, security_notifications=notifications)
    return PasskeyFlows(
        passkeys=passkeys,
        registration=PasskeyRegistration(
            users=users,
            passkeys=passkeys,
            sessions=sessions,
            audit_log=audit_log,
            security_notifications=notifications,
            second_factor_roles=settings.second_factor_roles,
        ),
        sign_in=PasskeySignIn(
            users=users, passkeys=passkeys, verification=verification, audit_log=audit_log, stages=stages
        ),
        second_step=PasskeySecondStep(
            passkeys=passkeys,
            verification=verification,
            second_step=step,
            administrators=administrators,
            audit_log=audit_log,
        ),
        reauthentication=PasskeyReauthentication(
            users=users, passkeys=passkeys, verification=verification, audit_log=audit_log, sessions=sessions
        ),
    )
