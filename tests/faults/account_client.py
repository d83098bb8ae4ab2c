"""HTTP client of a user with an account: sign-in, refresh, password, email change, deletion; and token contents."""

import base64
import json
import time
from dataclasses import dataclass
from typing import Any, Self

from tests.faults.client import RecordedRequest, RegistrationClient, Response


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenPair:
    """An access token and the refresh token issued with it."""

    access: str
    refresh: str

    @classmethod
    def of(cls, response: Response | None) -> Self | None:
        """The tokens in a response; None if it has none."""
        if response is None or response.status != 200:
            return None
        data = response.json.get("data") or {}
        return cls(access=data["access_token"], refresh=data["refresh_token"]) if "access_token" in data else None


def session_id_of(access_token: str) -> str:
    """The claim `sid` of an access token."""
    session: str = _claims(access_token)["sid"]
    return session


def roles_of(access_token: str) -> list[str]:
    """The claim `roles` of an access token."""
    roles: list[str] = _claims(access_token)["roles"]
    return roles


def position_of(refresh_token: str) -> tuple[str, int]:
    """The session id and the counter in a refresh token."""
    raw = _decoded(refresh_token)
    digits = raw[:16].hex()
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return "-".join(parts), int.from_bytes(raw[16:24])


def session_of_request(entry: RecordedRequest) -> str | None:
    """The id of the session whose token the request carries."""
    if entry.token is not None:
        return session_id_of(entry.token)
    if entry.step in REFRESHING and entry.credential is not None:
        return position_of(entry.credential)[0]
    return None


REFRESHING = ("refresh", "replay")


class AccountClient(RegistrationClient):
    """The client of a user who registers, signs in and uses the account."""

    def sign_in(self, password: str) -> Response:
        return self._call(
            "sign_in", "POST", "/sign_in", body={"email": self.email, "password": password}, credential=password
        )

    def send_sign_in_code(self) -> Response:
        return self._call("send_sign_in_code", "POST", "/sign_in/send_code", body={"email": self.email})

    def sign_in_by_code(self, code: str) -> Response:
        return self._call(
            "sign_in_by_code", "POST", "/sign_in/code", body={"email": self.email, "code": code}, credential=code
        )

    def me(self, access_token: str) -> Response:
        return self._call("me", "GET", "/me", token=access_token)

    def refresh(self, refresh_token: str, *, step: str = "refresh") -> Response:
        """Rotate a refresh token; the step `replay` sends an old one, which reuse detection must reject."""
        return self._call(
            step, "POST", "/refresh_token", body={"refresh_token": refresh_token}, credential=refresh_token
        )

    def sign_out(self, access_token: str) -> Response:
        return self._call("sign_out", "POST", "/sign_out", token=access_token)

    def revoke_other_sessions(self, access_token: str) -> Response:
        return self._call("revoke_other_sessions", "DELETE", "/me/sessions", token=access_token)

    def send_reset_code(self) -> Response:
        return self._call("send_reset_code", "POST", "/password/send_code", body={"email": self.email})

    def reset_password(self, code: str, new_password: str) -> Response:
        body = {"email": self.email, "code": code, "new_password": new_password}
        return self._call("reset_password", "PUT", "/password", body=body, credential=code, new_password=new_password)

    def change_password(self, access_token: str, current: str, new_password: str) -> Response:
        body = {"current_password": current, "new_password": new_password}
        return self._call(
            "change_password",
            "PUT",
            "/me/password",
            body=body,
            token=access_token,
            credential=current,
            new_password=new_password,
        )

    def request_email_change(self, access_token: str, to: str, password: str | None = None) -> Response:
        """Request the code that changes the address of the account to `to`."""
        body = {"email": to} if password is None else {"email": to, "password": password}
        return self._call("request_email_change", "POST", "/me/email", body=body, token=access_token, to=to)

    def change_email(self, access_token: str, code: str, to: str) -> Response:
        """Submit the code that was emailed to the address `to`."""
        return self._call(
            "change_email", "PUT", "/me/email", body={"code": code}, token=access_token, credential=code, to=to
        )

    def send_deletion_code(self, access_token: str) -> Response:
        return self._call("send_deletion_code", "POST", "/me/send_code", token=access_token)

    def delete_account(self, access_token: str, **reauthentication: str) -> Response:
        """Delete the account; reauthentication is by `password` or `code`."""
        [credential] = reauthentication.values()
        return self._call(
            "delete_account", "DELETE", "/me", body=reauthentication, token=access_token, credential=credential
        )


def has_expired(access_token: str) -> bool:
    """Whether an access token has expired."""
    expires_at: int = _claims(access_token)["exp"]
    return expires_at < time.time()


def key_id_of(access_token: str) -> str:
    """The header `kid` of an access token: the id of its signing key."""
    key_id: str = json.loads(_decoded(access_token.partition(".")[0]))["kid"]
    return key_id


def _claims(access_token: str) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(_decoded(access_token.split(".", maxsplit=2)[1]))
    return claims


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
