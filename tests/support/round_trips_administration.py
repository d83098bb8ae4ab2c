"""Round trips of reauthentication and administration: the typical request of every endpoint."""

from tests.support.accounts import PASSWORD, Accounts
from tests.support.round_trips_cases import Request, row
from tests.support.round_trips_operations import CASES

__all__ = ["CASES"]


@row("GET /api/v1/roles")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.administrator.call("GET", "/roles")


@row("POST /api/v1/roles", status=201)
def _(accounts: Accounts) -> Request:
    body = {"name": accounts.role_name(), "permissions": ["films:edit"]}
    return lambda: accounts.administrator.call("POST", "/roles", json=body)


@row("DELETE /api/v1/roles", "revoke, by the field names of the reference implementation")
def _(accounts: Accounts) -> Request:
    user_id, role = accounts.account().id, accounts.role()
    accounts.administrator.data("PUT", f"/users/{user_id}/roles/{role}")
    return lambda: accounts.administrator.call("DELETE", f"/roles?user_id={user_id}&role_id={role}")


@row("GET /api/v1/roles/{name}")
def _(accounts: Accounts) -> Request:
    role = accounts.role()
    return lambda: accounts.administrator.call("GET", f"/roles/{role}")


@row("PATCH /api/v1/roles/{name}")
def _(accounts: Accounts) -> Request:
    role = accounts.role()
    return lambda: accounts.administrator.call("PATCH", f"/roles/{role}", json={"permissions": []})


@row("DELETE /api/v1/roles/{name}")
def _(accounts: Accounts) -> Request:
    role = accounts.role()
    return lambda: accounts.administrator.call("DELETE", f"/roles/{role}")


@row("GET /api/v1/users/{user_id}/roles")
def _(accounts: Accounts) -> Request:
    user_id = accounts.account().id
    return lambda: accounts.administrator.call("GET", f"/users/{user_id}/roles")


@row("PUT /api/v1/users/{user_id}/roles/{name}")
def _(accounts: Accounts) -> Request:
    user_id, role = accounts.account().id, accounts.role()
    return lambda: accounts.administrator.call("PUT", f"/users/{user_id}/roles/{role}")


@row("DELETE /api/v1/users/{user_id}/roles/{name}")
def _(accounts: Accounts) -> Request:
    user_id, role = accounts.account().id, accounts.role()
    accounts.administrator.data("PUT", f"/users/{user_id}/roles/{role}")
    return lambda: accounts.administrator.call("DELETE", f"/users/{user_id}/roles/{role}")


@row("GET /api/v1/roles/check_permissions", "the own id")
def _(accounts: Accounts) -> Request:
    user_id = accounts.administrator.user_id
    return lambda: accounts.administrator.call("GET", f"/roles/check_permissions?user_id={user_id}")


@row("GET /api/v1/permissions")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.administrator.call("GET", "/permissions")


@row("GET /api/v1/admin/audit")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.administrator.call("GET", "/admin/audit")


@row("GET /api/v1/admin/audit", "export of up to 500 events")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.administrator.call("GET", "/admin/audit", headers={"Accept": "text/csv"}, buffered=True)


@row("GET /api/v1/admin/audit/actions")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.administrator.call("GET", "/admin/audit/actions")


@row("GET /api/srv/roles")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.role_service.call("GET", "/roles")


@row("POST /api/srv/roles")
def _(accounts: Accounts) -> Request:
    body = {"user_id": accounts.account().id, "role_id": accounts.role()}
    return lambda: accounts.role_service.call("POST", "/roles", json=body)


@row("DELETE /api/srv/roles")
def _(accounts: Accounts) -> Request:
    user_id, role = accounts.account().id, accounts.role()
    accounts.role_service.data("POST", "/roles", json={"user_id": user_id, "role_id": role})
    return lambda: accounts.role_service.call("DELETE", f"/roles?user_id={user_id}&role_id={role}")


@row("GET /api/srv/roles/check_permissions")
def _(accounts: Accounts) -> Request:
    user_id = accounts.account().id
    return lambda: accounts.role_service.call("GET", f"/roles/check_permissions?user_id={user_id}")


@row("POST /api/srv/roles/create_role", status=201)
def _(accounts: Accounts) -> Request:
    name = accounts.role_name()
    return lambda: accounts.role_service.call("POST", "/roles/create_role", json={"role_name": name})


@row("DELETE /api/srv/roles/{name}/delete_role")
def _(accounts: Accounts) -> Request:
    role = accounts.role()
    return lambda: accounts.role_service.call("DELETE", f"/roles/{role}/delete_role")


@row("GET /api/srv/users")
def _(accounts: Accounts) -> Request:
    user_id = accounts.account().id
    return lambda: accounts.role_service.call("GET", f"/users?user_id={user_id}")


def ban_path(user_id: int) -> str:
    return f"/admin/users/{user_id}/ban"


@row("PUT /api/v1/admin/users/{user_id}/ban")
def _(accounts: Accounts) -> Request:
    user_id = accounts.account().id
    return lambda: accounts.administrator.call("PUT", ban_path(user_id), json={"reason": "a test"})


@row("DELETE /api/v1/admin/users/{user_id}/ban")
def _(accounts: Accounts) -> Request:
    user_id = accounts.account().id
    accounts.administrator.data("PUT", ban_path(user_id), json={"reason": "a test"})
    return lambda: accounts.administrator.call("DELETE", ban_path(user_id))


@row("POST /api/v1/users/sign_in", "banned, correct password", status=403)
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    accounts.administrator.data("PUT", ban_path(account.id), json={"reason": "a test"})
    return lambda: account.api.sign_in(account.email, PASSWORD)


@row("POST /api/v1/admin/users/{user_id}/force_password_reset")
def _(accounts: Accounts) -> Request:
    path = f"/admin/users/{accounts.account().id}/force_password_reset"
    return lambda: accounts.administrator.call("POST", path, json={"reason": "a test"})


@row("DELETE /api/v1/admin/users/{user_id}")
def _(accounts: Accounts) -> Request:
    path = f"/admin/users/{accounts.account().id}"
    return lambda: accounts.administrator.call("DELETE", path, json={"reason": "a test"})


@row("POST /api/v1/users/me/reauthenticate", "with the password")
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    return lambda: account.call("POST", "/me/reauthenticate", json={"password": PASSWORD})


@row("POST /api/v1/users/me/reauthenticate/send_code")
def _(accounts: Accounts) -> Request:
    account = accounts.account()
    return lambda: account.call("POST", "/me/reauthenticate/send_code")


@row("GET /api/v1/admin/users", "the first page")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.administrator.call("GET", "/admin/users?limit=50")


@row("GET /api/v1/admin/users", "with filters")
def _(accounts: Accounts) -> Request:
    email = accounts.shared.email
    filters = {"email": email, "query": email[:4], "status": "active", "role": "ROLE_PORTAL_USER"}
    return lambda: accounts.administrator.call("GET", "/admin/users", query_string=filters)


@row("GET /api/v1/admin/users/count")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.administrator.call("GET", "/admin/users/count?status=active")


@row("GET /api/v1/admin/users/{user_id}")
def _(accounts: Accounts) -> Request:
    user_id = accounts.shared.id
    return lambda: accounts.administrator.call("GET", f"/admin/users/{user_id}")


@row("GET /api/v1/admin/users/{user_id}/sessions")
def _(accounts: Accounts) -> Request:
    user_id = accounts.shared.id
    return lambda: accounts.administrator.call("GET", f"/admin/users/{user_id}/sessions")


@row("DELETE /api/v1/admin/users/{user_id}/sessions", "one session")
def _(accounts: Accounts) -> Request:
    user_id = accounts.account().id
    return lambda: accounts.administrator.call("DELETE", f"/admin/users/{user_id}/sessions")


@row("DELETE /api/v1/admin/users/{user_id}/sessions/{session_id}")
def _(accounts: Accounts) -> Request:
    sessions = f"/admin/users/{accounts.account().id}/sessions"
    [session] = accounts.administrator.data("GET", sessions)
    return lambda: accounts.administrator.call("DELETE", f"{sessions}/{session['id']}")


@row("GET /api/v1/admin/mail")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.administrator.call("GET", "/admin/mail")


@row("POST /api/v1/admin/mail/{message_id}/retry")
def _(accounts: Accounts) -> Request:
    api, user_id, _ = accounts.temporary()
    api.ask_for_code(user_id)
    [email] = accounts.administrator.data("GET", "/admin/mail?state=waiting&limit=1")
    return lambda: accounts.administrator.call("POST", f"/admin/mail/{email['id']}/retry")


@row("GET /api/v1/invitations")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.administrator.call("GET", "/invitations")


@row("POST /api/v1/invitations", "with a role", status=201)
def _(accounts: Accounts) -> Request:
    body = {"email": accounts.address(), "roles": [accounts.role()]}
    return lambda: accounts.administrator.call("POST", "/invitations", json=body)


@row("DELETE /api/v1/invitations/{invitation_id}")
def _(accounts: Accounts) -> Request:
    invitation, _ = accounts.invitation()
    return lambda: accounts.administrator.call("DELETE", f"/invitations/{invitation}")


@row("POST /api/v1/invitations/{invitation_id}/resend")
def _(accounts: Accounts) -> Request:
    invitation, _ = accounts.invitation()
    return lambda: accounts.administrator.call("POST", f"/invitations/{invitation}/resend")


@row("POST /api/v1/users/invitation")
def _(accounts: Accounts) -> Request:
    _, token = accounts.invitation()
    return lambda: accounts.api().call("POST", "/invitation", json={"token": token})


@row("POST /api/v1/users/invitation/accept", "with a password and a role")
def _(accounts: Accounts) -> Request:
    _, token = accounts.invitation()
    body = {"token": token, "password": PASSWORD}
    return lambda: accounts.api().call("POST", "/invitation/accept", json=body)


@row("GET /account/invitation")
def _(accounts: Accounts) -> Request:
    return lambda: accounts.get("/account/invitation")
