"""Errors of authorization: permissions, roles, administrators, step-up authentication, idempotency keys."""

from typing import Annotated, Literal

from auth_service.errors.base import Conflict, Forbidden, NotFound, Unauthenticated, Unprocessable, members


class InsufficientUserAuthentication(Unauthenticated):
    """The session needs a newer or a stronger authentication: step-up (RFC 9470)."""

    commit_on_raise = True  # the audit event about the denial is committed
    code = "insufficient_user_authentication"
    message = "This request needs a recent authentication; reauthenticate with one of `methods`, then send it again."
    extra = members(
        acr_values=Annotated[Literal["aal1", "aal2"], "The authentication level that the request needs (RFC 9470)."],
        max_age=Annotated[int, "Seconds since the authentication that the request allows."],
        methods=Annotated[
            list[Literal["password", "code", "totp", "recovery_code", "passkey"]],
            "The methods with which the user can reauthenticate: `password` or `code`, if listed with `totp` or "
            "`recovery_code` too; or a passkey.",
        ],
    )


class SecondFactorEnrolmentRequired(Forbidden):
    """A role of the user requires a second factor, and the account has none. The session is restricted until then."""

    code = "second_factor_enrolment_required"
    message = "A role of this account requires a second factor; enrol one, then send this request again."


class PermissionMissing(Forbidden):
    """Neither a role of the user nor a scope of the service key has the permission."""

    code = "permission_missing"
    message = "This request needs the permission in `permission`; ask an administrator to grant a role that has it."
    extra = members(permission=Annotated[str, "The permission that the caller lacks."])


class BeyondYourOwn(Forbidden):
    """The caller would grant, revoke or change a permission that the caller lacks (privilege escalation)."""

    code = "beyond_your_own"
    message = "This concerns permissions that you do not have; ask an administrator who has them."


class NotToYourself(Forbidden):
    """An administrator would ban, reset or delete the own account with an endpoint of user administration."""

    code = "not_to_yourself"
    message = "This concerns your own account; use your account settings, or ask another administrator."


class RoleUnknown(NotFound):
    """No role has this name."""

    code = "role_unknown"
    message = "No role has this name; list the roles to get their names."


class RoleTaken(Conflict):
    """A role with this name exists already."""

    code = "role_taken"
    message = "A role with this name exists already; change it or use another name."


class RoleInUse(Conflict):
    """The role cannot be deleted, because users have it."""

    code = "role_in_use"
    message = "Users have this role, their number is in `users`; revoke it from them before you delete it."
    extra = members(users=Annotated[int, "The number of users who have the role."])


class RoleIsSystem(Conflict):
    """The service itself needs the role, so that no request can change, delete, grant or revoke it this way."""

    code = "role_is_system"
    message = "This role belongs to the service and cannot be changed this way; use another role."


class LastAdministrator(Conflict):
    """The operation would leave no administrator who can sign in."""

    code = "last_administrator"
    message = "This is the last administrator; grant ROLE_PORTAL_ADMIN to another user first."


class LimitReached(Conflict):
    """A fixed upper bound is reached: roles, permissions of a role, or roles of a user."""

    code = "limit_reached"
    message = "No more than `limit` are possible; remove one first."
    extra = members(limit=Annotated[int, "The upper bound."])


class IdempotencyKeyReused(Unprocessable):
    """The caller used the idempotency key for another request in the last 24 hours."""

    code = "idempotency_key_reused"
    message = "This Idempotency-Key was used for another request; use a new key."
