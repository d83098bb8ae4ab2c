"""Factory of maintenance, with the retention of records."""

from auth_service.services.audit.seals import AuditSealing
from auth_service.services.flows.account_revert import AccountRevert
from auth_service.services.flows.invitations.invitations import Invitations
from auth_service.services.maintenance import Maintenance, Retention
from auth_service.wiring.shared import Shared


def maintenance(
    shared: Shared, account_revert: AccountRevert, invitations: Invitations, audit_sealing: AuditSealing
) -> Maintenance:
    """Build maintenance, which deletes records after their retention and creates partitions of the audit log."""
    settings = shared.settings
    return Maintenance(
        users=shared.users,
        account_revert=account_revert,
        invitations=invitations,
        outbox=shared.outbox,
        audit_sealing=audit_sealing,
        database_url=settings.database_url or "",
        retention=Retention(
            temporary_users=settings.temporary_user_lifetime_seconds,
            emails=settings.letter_lifetime_seconds,
            ended_sessions=settings.ended_session_lifetime_seconds,
            ended_invitations=settings.ended_invitation_lifetime_seconds,
            audit_events=settings.history_lifetime_seconds,
        ),
    )
