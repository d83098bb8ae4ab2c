"""People who have an account: they sign in on one device, and keep the tokens that they are given."""

import base64
import json
import time
from dataclasses import dataclass
from typing import Any, Self

from tests.faults.client import Answer, AuditEntry, CurrentUser


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """What a session gave its holder at one time."""

    access: str
    refresh: str

    @classmethod
    def of(cls, answer: Answer | None) -> Self | None:
        """The tokens in an answer, if it is one that has some."""
        if answer is None or answer.status != 200:
            return None
        data = answer.json.get("data") or {}
        return cls(access=data["access_token"], refresh=data["refresh_token"]) if "access_token" in data else None


def session_of(access_token: str) -> str:
    """The session that an access token is of, as it says itself."""
    session: str = _claims(access_token)["sid"]
    return session


def roles_in(access_token: str) -> list[str]:
    """The roles of its owner, as an access token says."""
    roles: list[str] = _claims(access_token)["roles"]
    return roles


def place_of(refresh_token: str) -> tuple[str, int]:
    """The session and the counter that a refresh token is of."""
    raw = _decoded(refresh_token)
    digits = raw[:16].hex()
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return "-".join(parts), int.from_bytes(raw[16:24])


def session_in(entry: AuditEntry) -> str | None:
    """The session that a request was made from."""
    if entry.token is not None:
        return session_of(entry.token)
    if entry.step in REFRESHING and entry.credential is not None:
        return place_of(entry.credential)[0]
    return None


REFRESHING = ("refresh", "replay")


class Member(CurrentUser):
    """A user who signs in and out again."""

    def sign_in(self, password: str) -> Answer:
        return self._call(
            "sign_in", "POST", "/sign_in", body={"email": self.email, "password": password}, credential=password
        )

    def ask_to_sign_in(self) -> Answer:
        return self._call("ask_to_sign_in", "POST", "/sign_in/send_code", body={"email": self.email})

    def sign_in_by_code(self, code: str) -> Answer:
        return self._call(
            "sign_in_by_code", "POST", "/sign_in/code", body={"email": self.email, "code": code}, credential=code
        )

    def me(self, access_token: str) -> Answer:
        return self._call("me", "GET", "/me", token=access_token)

    def refresh(self, refresh_token: str, *, step: str = "refresh") -> Answer:
        """Exchange a token; a `step` called replay brings one that cannot be good any more."""
        return self._call(
            step, "POST", "/refresh_token", body={"refresh_token": refresh_token}, credential=refresh_token
        )

    def sign_out(self, access_token: str) -> Answer:
        return self._call("sign_out", "POST", "/sign_out", token=access_token)

    def end_others(self, access_token: str) -> Answer:
        return self._call("end_others", "DELETE", "/me/sessions", token=access_token)

    def ask_to_recover(self) -> Answer:
        return self._call("ask_to_recover", "POST", "/password/send_code", body={"email": self.email})

    def recover(self, code: str, new_password: str) -> Answer:
        body = {"email": self.email, "code": code, "new_password": new_password}
        return self._call("recover", "PUT", "/password", body=body, credential=code, chosen=new_password)

    def change_password(self, access_token: str, current: str, new_password: str) -> Answer:
        body = {"current_password": current, "new_password": new_password}
        return self._call(
            "change_password",
            "PUT",
            "/me/password",
            body=body,
            token=access_token,
            credential=current,
            chosen=new_password,
        )

    def ask_to_move(self, access_token: str, to: str, password: str | None = None) -> Answer:
        """Ask for the code that moves the account to the address `to`."""
        body = {"email": to} if password is None else {"email": to, "password": password}
        return self._call("ask_to_move", "POST", "/me/email", body=body, token=access_token, to=to)

    def move(self, access_token: str, code: str, to: str) -> Answer:
        """Bring the code that was mailed to the address `to`; a member who succeeds continues with that address."""
        return self._call("move", "PUT", "/me/email", body={"code": code}, token=access_token, credential=code, to=to)

    def ask_to_leave(self, access_token: str) -> Answer:
        return self._call("ask_to_leave", "POST", "/me/send_code", token=access_token)

    def leave(self, access_token: str, **proof: str) -> Answer:
        """Delete the account, by its `password` or by a `code`."""
        [credential] = proof.values()
        return self._call("leave", "DELETE", "/me", body=proof, token=access_token, credential=credential)


def has_expired(access_token: str) -> bool:
    """Whether an access token is refused for its age, or may be at any moment."""
    expires_at: int = _claims(access_token)["exp"]
    return expires_at < time.time()


def kid_in(access_token: str) -> str:
    """The key that an access token is signed with."""
    kid: str = json.loads(_decoded(access_token.partition(".")[0]))["kid"]
    return kid


def _claims(access_token: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_decoded(access_token.split(".", maxsplit=2)[1]))
    return found


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
