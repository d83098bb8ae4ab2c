"""Actors of the tests: an API client with a cookie jar, and the mailbox of its user."""

import re
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from auth_service.adapters.email.dev_inbox import DevInbox, InboxMessage
from auth_service.wiring import Services

USERS = "/api/v1/users"
ADA, PASSWORD = "ada@example.org", "correct horse battery"


def refusal(answer: TestResponse) -> dict[str, Any]:
    """The error of an error answer."""
    body: dict[str, Any] = answer.get_json()
    assert body["success"] is False
    assert body["result"] is None
    error: dict[str, Any] = body["error"]
    assert all(field.keys() == {"field", "reason", "msg"} for field in error.get("fields", []))
    return error


class ApiClient:
    """An API client of one user, with a cookie jar."""

    def __init__(
        self, app: Flask, *, address: str = "203.0.113.7", language: str | None = None, cookies: bool = True
    ) -> None:
        """`address` is the client's IP address, `language` its Accept-Language; mobile apps keep no `cookies`."""
        self.client = app.test_client(use_cookies=cookies)
        self._environ = {"REMOTE_ADDR": address}
        self._headers = {"Accept-Language": language} if language else {}

    def call(self, method: str, path: str, **options: Any) -> TestResponse:
        """Send a request, with a path relative to `/users`."""
        headers = {**self._headers, **options.pop("headers", {})}
        return self.client.open(
            f"{USERS}{path}",
            method=method,
            headers=headers,
            environ_overrides=self._environ,
            base_url=options.pop("base_url", "https://localhost"),
            **options,
        )

    def look_up(self, email: str) -> TestResponse:
        """Request the public record of the user with this address."""
        return self.call("GET", "", query_string={"email": email})

    def sign_up(self, email: str) -> int:
        """Create a temporary user; returns the id."""
        answer = self.try_to_sign_up(email)
        assert answer.status_code == 201, answer.text
        user_id: int = answer.json["data"]["id"]  # type: ignore[index]
        return user_id

    def try_to_sign_up(self, email: str) -> TestResponse:
        """Request a temporary user."""
        return self.call("POST", "/sign_up", json={"email": email})

    def ask_for_code(self, user_id: int, code: str | int | None = None) -> TestResponse:
        """Request an emailed code, or register a client-supplied code."""
        return self.call("POST", f"/{user_id}/send_code", json={} if code is None else {"code": code})

    def ask_again(self, user_id: int, code: str | int | None = None) -> TestResponse:
        """Request another code."""
        return self.call("POST", f"/{user_id}/resend_code", json={} if code is None else {"code": code})

    def confirm(self, user_id: int, code: str | int) -> TestResponse:
        """Confirm the address with a code."""
        return self.call("PUT", f"/{user_id}/mail", query_string={"code": str(code)})

    def finish(self, user_id: int, **body: Any) -> TestResponse:
        """Finish the registration."""
        return self.call("PATCH", f"/{user_id}/sign_up", **({"json": body} if body else {}))

    def sign_in(self, email: str, password: str, **more: Any) -> TestResponse:
        """Sign in with a password."""
        return self.call("POST", "/sign_in", json={"email": email, "password": password, **more})

    def signed_in(self, email: str, password: str) -> dict[str, Any]:
        """Sign in with a password; returns the tokens."""
        answer = self.sign_in(email, password)
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.get_json()["data"]
        return tokens

    def with_token(self, token: str, method: str, path: str, **options: Any) -> TestResponse:
        """Send a request with an access token."""
        return self.call(method, path, headers={"Authorization": f"Bearer {token}"}, **options)

    def refresh(self, token: str) -> TestResponse:
        """Rotate a refresh token."""
        return self.call("POST", "/refresh_token", json={"refresh_token": token})

    def ask_to_sign_in(self, email: str) -> TestResponse:
        """Request a sign-in code."""
        return self.call("POST", "/sign_in/send_code", json={"email": email})

    def sign_in_by_code(self, email: str, code: str, **more: Any) -> TestResponse:
        """Sign in with an emailed code."""
        return self.call("POST", "/sign_in/code", json={"email": email, "code": code, **more})

    def ask_to_recover(self, email: str) -> TestResponse:
        """Request a password reset code."""
        return self.call("POST", "/password/send_code", json={"email": email})

    def recover(self, email: str, code: str, new_password: str) -> TestResponse:
        """Reset the password with an emailed code."""
        body = {"email": email, "code": code, "new_password": new_password}
        return self.call("PUT", "/password", json=body)

    def change_password(self, token: str, current: str, new: str) -> TestResponse:
        """Change the password."""
        body = {"current_password": current, "new_password": new}
        return self.with_token(token, "PUT", "/me/password", json=body)

    def ask_to_move(self, token: str, email: str, **proof: Any) -> TestResponse:
        """Request a change of the email address, with reauthentication if `proof` has fields for it."""
        return self.with_token(token, "POST", "/me/email", json={"email": email, **proof})

    def move(self, token: str, code: str) -> TestResponse:
        """Confirm the new email address with its emailed code."""
        return self.with_token(token, "PUT", "/me/email", json={"code": code})

    def ask_to_leave(self, token: str) -> TestResponse:
        """Request an account deletion code."""
        return self.with_token(token, "POST", "/me/send_code")

    def leave(self, token: str, **proof: Any) -> TestResponse:
        """Delete the account."""
        return self.with_token(token, "DELETE", "/me", json=proof)

    def undo(self, token: str) -> TestResponse:
        """Redeem the token of an account revert link."""
        return self.call("POST", "/undo", json={"token": token})

    def is_signed_in(self, token: str) -> bool:
        """Whether an access token is still accepted."""
        answer = self.with_token(token, "GET", "/me")
        assert answer.status_code in (200, 401), answer.text
        return answer.status_code == 200

    def register(self, email: str, mailbox: "Mailbox", **body: Any) -> int:
        """Register completely, with the emailed code; returns the id."""
        user_id = self.sign_up(email)
        assert self.ask_for_code(user_id).status_code == 200
        assert self.confirm(user_id, mailbox.code_sent_to(email)).status_code == 200
        assert self.finish(user_id, **body).status_code == 200
        return user_id


class Mailbox:
    """The mailbox of all users: emails of the outbox are delivered into a dev inbox of this test."""

    def __init__(self, app: Flask, inbox: DevInbox) -> None:
        """`app` is the application whose outbox is delivered."""
        self._app = app
        self._inbox = inbox

    def deliver(self) -> list[str]:
        """Deliver all emails that are due; returns the outcome of each."""
        services: Services = self._app.extensions["auth_service"]
        with self._app.app_context():
            leased = services.delivery.claim(at_most=1000)
            return [services.delivery.deliver(message, transport=self._inbox) for message in leased]

    def letters_to(self, email: str) -> list[InboxMessage]:
        """The emails of an address, newest first."""
        self.deliver()
        return self._inbox.messages(to=email)

    def code_sent_to(self, email: str) -> str:
        """The code in the newest email of an address that has one."""
        return next(message.code for message in self.letters_to(email) if message.code)

    def undo_sent_to(self, email: str, *, about: str) -> str:
        """The token of the link in the newest email of an address whose subject contains `about`."""
        text = next(message.text for message in self.letters_to(email) if about in message.subject)
        [token] = re.findall(r"/account/undo#(\S+)", text)
        return str(token)

    def invitation_sent_to(self, email: str) -> str:
        """The token of the link in the newest invitation of an address."""
        for message in self.letters_to(email):
            if tokens := re.findall(r"/account/invitation#(\S+)", message.text):
                return str(tokens[0])
        raise AssertionError(f"{email} has no invitation")
