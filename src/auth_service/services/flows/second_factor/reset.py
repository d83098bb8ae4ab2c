"""Reset of second factors for a user who has lost them: by an administrator, by an operator, or after a delay."""

from dataclasses import dataclass

from auth_service.models.audit_event import EventType
from auth_service.services.audit.events import COMMAND_LINE, SERVICE, AuditLog, ClientInfo
from auth_service.services.authorization.targets import lock_target
from auth_service.services.caller import SYSTEM, Caller
from auth_service.services.credentials.factor_removal import remove_factors
from auth_service.services.flows.account_revert import AccountRevert
from auth_service.services.sessions.revocation import revoke_sessions
from auth_service.services.users.security_notifications import SecurityNotifications
from auth_service.services.users.users import lock_for_change, next_factor_version


@dataclass(frozen=True, kw_only=True, slots=True)
class SecondFactorReset:
    """Removes TOTP, recovery codes, passkeys and trusted devices of a user, and revokes all sessions.

    The first factor stays. A user whose role requires a second factor gets a restricted session with the next sign-in,
    and enrols a new factor.
    """

    audit_log: AuditLog
    security_notifications: SecurityNotifications
    account_revert: AccountRevert

    def by_administrator(self, user_id: int, *, reason: str, caller: Caller, client: ClientInfo) -> None:
        """Reset the second factors of another user; idempotent.

        Raises NotToYourself, UserUnknown, and BeyondYourOwn for a user who has a permission that the caller lacks.
        """
        lock_target(user_id, caller=caller)
        self._reset(user_id, actor=caller, client=client, reason=reason)

    def by_operator(self, user_id: int) -> None:
        """Reset the second factors of a user with a command."""
        lock_for_change(user_id)
        self._reset(user_id, actor=SYSTEM, client=COMMAND_LINE, reason=None)

    def by_delay(self, user_id: int) -> None:
        """Reset the second factors of a locked user, whose delayed reset takes effect."""
        self._reset(user_id, actor=SYSTEM, client=SERVICE, reason=None, by_administrator=False)

    def _reset(
        self, user_id: int, *, actor: Caller, client: ClientInfo, reason: str | None, by_administrator: bool = True
    ) -> None:
        remove_factors(user_id)
        if next_factor_version(user_id) is None:  # deleted meanwhile
            return
        revoke_sessions(user_id, reason="second_factor_reset", client=client, actor=actor)
        self.audit_log.record(EventType.SECOND_FACTOR_RESET, user_id=user_id, client=client, actor=actor, reason=reason)
        self.security_notifications.send(
            "second_factor_reset_done",
            user_id=user_id,
            client=client,
            by_administrator=by_administrator,
            **self.account_revert.link_for_reset_factors(user_id),
        )
