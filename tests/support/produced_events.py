"""Producers of audit events: for each event type a request that produces it."""

from collections.abc import Callable
from dataclasses import dataclass

from auth_service.models.audit_event import EventType
from tests.support.actors import PASSWORD
from tests.support.audit_events import OTHER, REASON, WRONG, Scene
from tests.support.delayed_reset import RESET


@dataclass(frozen=True, slots=True)
class Produced:
    """An event that a request produces: the types of its actor and its target, and the request."""

    actor: str
    target: str
    produce: Callable[[Scene], object]


def _post_wrong_password(scene: Scene) -> object:
    return scene.api.change_password(scene.token, WRONG, OTHER)


def _request_reset(scene: Scene) -> None:
    user = scene.protected
    body = {"ticket": user.ticket()}
    assert user.api.call("POST", RESET, json=body).status_code == 200
    assert user.api.call("POST", RESET, json={**body, "code": scene.code()}).status_code == 200


def _cancel_reset(scene: Scene) -> None:
    _request_reset(scene)
    scene.use_recovery_code()


PRODUCED: dict[EventType, Produced] = {
    EventType.REGISTERED: Produced("user", "user", lambda scene: scene.api),
    EventType.SIGNED_IN: Produced("user", "user", lambda scene: scene.token),
    EventType.REAUTHENTICATED: Produced("user", "user", Scene.reauthenticate),
    EventType.SIGN_IN_REFUSED: Produced("anonymous", "user", lambda scene: scene.api.sign_in(scene.email, WRONG)),
    EventType.SIGNED_OUT: Produced(
        "user", "user", lambda scene: scene.api.with_token(scene.token, "POST", "/sign_out")
    ),
    EventType.SESSION_ENDED: Produced("user", "user", Scene.end_session),
    EventType.REFRESH_REUSED: Produced("user", "user", Scene.reuse_refresh_token),
    EventType.PASSWORD_REFUSED: Produced("user", "user", _post_wrong_password),
    EventType.CODE_REFUSED: Produced("user", "user", lambda scene: scene.api.leave(scene.token, code="750505")),
    EventType.PASSWORD_CHANGED: Produced(
        "user", "user", lambda scene: scene.api.change_password(scene.token, PASSWORD, OTHER)
    ),
    EventType.PASSWORD_RECOVERED: Produced("user", "user", Scene.recover),
    EventType.RECOVERY_REFUSED: Produced("anonymous", "user", lambda scene: scene.recover("0000")),
    EventType.EMAIL_CHANGE_ASKED: Produced("user", "user", Scene.change_email),
    EventType.EMAIL_CHANGED: Produced("user", "user", Scene.change_email),
    EventType.EMAIL_CHANGED_UNDONE: Produced("user", "user", Scene.revert_email_change),
    EventType.NEW_DEVICE_UNDONE: Produced("user", "user", Scene.revert_new_device),
    EventType.LANGUAGE_CHANGED: Produced(
        "user", "user", lambda scene: scene.api.with_token(scene.token, "PATCH", "/me", json={"language": "ru"})
    ),
    EventType.DATA_EXPORTED: Produced(
        "user", "user", lambda scene: scene.api.with_token(scene.token, "GET", "/me/export")
    ),
    EventType.ACCOUNT_DELETED: Produced("user", "user", lambda scene: scene.api.leave(scene.token, password=PASSWORD)),
    EventType.ROLE_CREATED: Produced("user", "role", lambda scene: scene.role),
    EventType.ROLE_CHANGED: Produced("user", "role", Scene.change_role),
    EventType.ROLE_DELETED: Produced("user", "role", lambda scene: scene.admin.call("DELETE", f"/roles/{scene.role}")),
    EventType.ROLE_GRANTED: Produced("user", "user", Scene.grant),
    EventType.ROLE_WITHDRAWN: Produced("user", "user", Scene.revoke),
    EventType.MAIL_RETRIED: Produced("user", "email", Scene.retry_email),
    EventType.USER_BANNED: Produced("user", "user", Scene.ban),
    EventType.USER_UNBANNED: Produced("user", "user", Scene.unban),
    EventType.PASSWORD_RESET_FORCED: Produced(
        "user", "user", lambda scene: scene.administrate("POST", "/force_password_reset", json=REASON)
    ),
    EventType.INVITATION_CREATED: Produced("user", "invitation", Scene.invite),
    EventType.INVITATION_RESENT: Produced("user", "invitation", Scene.resend_invitation),
    EventType.INVITATION_REVOKED: Produced(
        "user", "invitation", lambda scene: scene.admin.call("DELETE", f"/invitations/{scene.invite()}")
    ),
    EventType.INVITATION_ACCEPTED: Produced("user", "invitation", Scene.accept_invitation),
    EventType.SECOND_FACTOR_ENABLED: Produced("user", "user", lambda scene: scene.protected),
    EventType.SECOND_FACTOR_DISABLED: Produced("user", "user", Scene.disable_totp),
    EventType.RECOVERY_CODES_REPLACED: Produced("user", "user", Scene.replace_recovery_codes),
    EventType.RECOVERY_CODE_USED: Produced("user", "user", Scene.use_recovery_code),
    EventType.SECOND_FACTOR_REFUSED: Produced("user", "user", lambda scene: scene.use_recovery_code("7" * 24)),
    EventType.SECOND_FACTOR_RESET_ASKED: Produced("user", "user", _request_reset),
    EventType.SECOND_FACTOR_RESET_CANCELLED: Produced("user", "user", _cancel_reset),
    EventType.SECOND_FACTOR_RESET: Produced(
        "user", "user", lambda scene: scene.administrate("POST", "/reset_second_factor", json=REASON)
    ),
    EventType.PASSKEY_REFUSED: Produced("user", "user", lambda scene: scene.passkeys.refuse()),
    EventType.PASSKEY_ADDED: Produced("user", "passkey", lambda scene: scene.passkeys.register()),
    EventType.PASSKEY_RENAMED: Produced("user", "passkey", lambda scene: scene.passkeys.rename()),
    EventType.PASSKEY_REMOVED: Produced("user", "passkey", lambda scene: scene.passkeys.remove()),
    EventType.PASSKEY_CLONED: Produced("user", "passkey", lambda scene: scene.passkeys.copy()),
    EventType.ACCESS_DENIED: Produced("user", "endpoint", Scene.read_roles),
    EventType.AUDIT_EXPORTED: Produced(
        "user", "audit", lambda scene: scene.admin.call("GET", "/admin/audit", headers={"Accept": "text/csv"})
    ),
}
"""A producer for every event type. One request of the scene has to be answered with the event."""
