"""Requests that produce audit events: one for each event type, with everything secret that they contained."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from tests.support.actors import PASSWORD, ApiClient, Mailbox
from tests.support.administration import AdminClient, Administration
from tests.support.passkeys import PasskeyUser
from tests.support.second_factor import CODES, TOTP, ProtectedUser, enrolled

WRONG, OTHER = "a wrong password", "another horse battery"
SECRETS = frozenset(
    (
        "password",
        "new_password",
        "current_password",
        "code",
        "email",
        "access_token",
        "refresh_token",
        "token",
        "query",
        "ticket",
        "credential",
        "clientDataJSON",
        "attestationObject",
        "authenticatorData",
        "signature",
        "challenge",
        "totp",
        "recovery_code",
        "secret",
        "otpauth_uri",
        "qr_svg",
    )
)
"""The fields of requests and responses whose values no audit event may contain."""
REASON = {"reason": "A request of the user"}
ELSEWHERE = "198.51.100.9"


class RecordingClient(ApiClient):
    """An API client with a request id, which remembers the secrets of its requests and responses."""

    def __init__(self, app: Flask, *, request_id: str, secrets: set[str], **options: Any) -> None:
        super().__init__(app, **options)
        self._request_id = request_id
        self._secrets = secrets

    def call(self, method: str, path: str, **options: Any) -> TestResponse:
        """Send a request, with a path relative to `/users`."""
        headers = {"X-Request-Id": self._request_id, **options.pop("headers", {})}
        answer = super().call(method, path, headers=headers, **options)
        self._secrets |= {*_secrets(options.get("json")), *_secrets(answer.get_json(silent=True))}
        return answer


def _secrets(body: Any) -> Iterator[str]:
    if isinstance(body, list):
        for item in body:
            yield from _secrets(item)
    elif isinstance(body, dict):
        for name, value in body.items():
            yield from [value] if name in SECRETS and isinstance(value, str) else _secrets(value)


@dataclass
class Scene:
    """One user with an address of their own, and an administrator; made as they are needed."""

    app: Flask
    mailbox: Mailbox
    name: str
    secrets: set[str] = field(default_factory=set)

    @property
    def email(self) -> str:
        """The address of the user."""
        return f"{self.name}@example.org"

    def client(self, **options: Any) -> RecordingClient:
        """A client of the user."""
        return RecordingClient(self.app, request_id=self.request_id, secrets=self.secrets, **options)

    @property
    def request_id(self) -> str:
        """The `X-Request-Id` of all requests."""
        return f"request-{self.name}"

    @cached_property
    def api(self) -> RecordingClient:
        """The client of the registered user."""
        client = self.client()
        client.register(self.email, self.mailbox, password=PASSWORD)
        return client

    @cached_property
    def tokens(self) -> dict[str, Any]:
        """The tokens of a session of the user."""
        return self.api.signed_in(self.email, PASSWORD)

    @property
    def token(self) -> str:
        """The access token of that session."""
        return str(self.tokens["access_token"])

    @cached_property
    def user_id(self) -> int:
        """The id of the user."""
        return int(self.api.with_token(self.token, "GET", "/me").get_json()["data"]["id"])

    @cached_property
    def admin(self) -> AdminClient:
        """An administrator."""
        administrator = self.administration.administrator(f"admin.{self.name}@example.org")
        administrator.headers["X-Request-Id"] = self.request_id
        self.secrets |= {f"admin.{self.name}@example.org", administrator.headers["Authorization"].split()[1]}
        return administrator

    @property
    def administration(self) -> Administration:
        """Creates users and services."""
        return Administration(self.app, self.mailbox)

    @cached_property
    def role(self) -> str:
        """A role with a description and a permission."""
        name = f"ROLE_{self.name.upper()}"
        body = {"name": name, "description": "Edits films.", "permissions": ["films:edit"]}
        self.admin.data("POST", "/roles", json=body, status=201)
        return name

    def code(self, email: str | None = None) -> str:
        """The newest emailed code."""
        code = self.mailbox.code_sent_to(email or self.email)
        self.secrets.add(code)
        return code

    def reauthenticate(self) -> None:
        """Authenticate again, with the password."""
        self.api.with_token(self.token, "POST", "/me/reauthenticate", json={"password": PASSWORD})

    @cached_property
    def passkeys(self) -> PasskeyUser:
        """The user, who adds passkeys."""
        return PasskeyUser(self.api, self.token, self.email)

    @cached_property
    def protected(self) -> ProtectedUser:
        """The user after enabling TOTP."""
        return enrolled(self.api, self.email, token=self.token)

    def use_recovery_code(self, code: str | None = None) -> None:
        """Sign in with a recovery code; by default with a valid one."""
        user = self.protected
        user.second_step(user.ticket(), recovery_code=code or user.recovery_codes[0])

    def disable_totp(self) -> None:
        """Disable TOTP."""
        assert self.protected.call("DELETE", TOTP).status_code == 200

    def replace_recovery_codes(self) -> None:
        """Replace the recovery codes."""
        assert self.protected.call("POST", CODES).status_code == 200

    def end_session(self) -> None:
        """Revoke another session of the user."""
        self.api.signed_in(self.email, PASSWORD)
        self.api.with_token(self.token, "DELETE", "/me/sessions")

    def reuse_refresh_token(self) -> None:
        """Use a refresh token whose successor was used already."""
        first = self.tokens["refresh_token"]
        second = self.api.refresh(first).get_json()["data"]["refresh_token"]
        self.api.refresh(second)
        self.client(address=ELSEWHERE).refresh(first)

    def recover(self, code: str | None = None) -> None:
        """Reset the password with a code; by default with the emailed one."""
        self.api.ask_to_recover(self.email)
        emailed = self.code()
        self.api.recover(self.email, emailed if code is None else code, OTHER)

    def change_email(self) -> str:
        """Change the address; return the new one."""
        new = f"new.{self.name}@example.com"
        assert self.api.ask_to_move(self.token, new, password=PASSWORD).status_code == 200
        assert self.api.move(self.token, self.code(new)).status_code == 200
        return new

    def revert_email_change(self) -> None:
        """Change the address, and revert that with the link of the security notification."""
        self.change_email()
        self.revert("address")

    def revert_new_device(self) -> None:
        """Sign in on another device, and revert that with the link of the security notification."""
        self.tokens  # noqa: B018 - the first device
        self.client(address=ELSEWHERE).signed_in(self.email, PASSWORD)
        self.revert("sign-in")

    def revert(self, about: str) -> None:
        """Use the link of a security notification."""
        token = self.mailbox.undo_sent_to(self.email, about=about)
        self.secrets.add(token)
        assert self.api.undo(token).status_code == 200

    def read_roles(self) -> None:
        """Request the roles, which the user may not read."""
        headers = {"Authorization": f"Bearer {self.token}", "X-Request-Id": self.request_id}
        AdminClient(self.app, headers).call("GET", "/roles")

    def change_role(self) -> None:
        """Change the description and the permissions of a role."""
        self.admin.data("PATCH", f"/roles/{self.role}", json={"description": "All.", "permissions": ["films:view"]})

    def grant(self) -> None:
        """Grant a role to the user."""
        self.admin.data("PUT", f"/users/{self.user_id}/roles/{self.role}")

    def administrate(self, method: str, path: str, **options: Any) -> None:
        """Send an administrative request about the user."""
        self.admin.data(method, f"/admin/users/{self.user_id}{path}", **options)

    def ban(self) -> None:
        """Ban the user for a while."""
        self.administrate(
            "PUT", "/ban", json={**REASON, "until": f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"}
        )

    def unban(self) -> None:
        """Ban the user, and lift the ban."""
        self.ban()
        self.administrate("DELETE", "/ban")

    def retry_email(self) -> None:
        """Make a waiting email due."""
        self.api.ask_to_recover(self.email)
        [email, *_] = self.admin.data("GET", "/admin/mail?state=waiting")
        self.admin.data("POST", f"/admin/mail/{email['id']}/retry")

    def revoke(self) -> None:
        """Revoke a role from the user."""
        self.grant()
        self.admin.data("DELETE", f"/users/{self.user_id}/roles/{self.role}")

    def invite(self) -> str:
        """Invite a person with a role; return the id of the invitation."""
        email = f"invited.{self.name}@example.com"
        body = {"email": email, "roles": [self.role]}
        invitation: str = self.admin.data("POST", "/invitations", json=body, status=201)["id"]
        self.secrets |= {email, self.invitation_token()}
        return invitation

    def invitation_token(self) -> str:
        """The token of the link of that invitation."""
        return self.mailbox.invitation_sent_to(f"invited.{self.name}@example.com")

    def resend_invitation(self) -> None:
        """Send an invitation again."""
        self.admin.data("POST", f"/invitations/{self.invite()}/resend")
        self.secrets.add(self.invitation_token())

    def accept_invitation(self) -> None:
        """Accept an invitation."""
        self.invite()
        body = {"token": self.invitation_token(), "password": PASSWORD}
        assert self.client().call("POST", "/invitation/accept", json=body).status_code == 200
