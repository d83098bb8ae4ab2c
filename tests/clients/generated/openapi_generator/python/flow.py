"""The six requests of the registration, sign-in, refresh and sign-out with the Python client of OpenAPI Generator."""

import json
import sys
from collections.abc import Callable
from typing import TypeVar

from auth_api import (
    AccountApi,
    ApiClient,
    ApiException,
    Configuration,
    ConfirmEmailNotFoundResponse,
    ConfirmEmailRequest,
    FinishRegistrationRequest,
    RefreshRequest,
    RegistrationApi,
    RestrictedUnauthenticatedResponse,
    SendCodeRequest,
    SessionsApi,
    SignInRequest,
    SignInUnauthenticatedResponse,
    SignOutRequest,
    SignUpRequest,
    UserUnknownResponse,
)

PASSWORD = "correct horse battery"

Model = TypeVar("Model")


def main(service: str, email: str) -> list[str]:
    """Run the flow; return the names of its steps."""
    return [*registration(service, email), *session(service, email)]


def client(service: str, token: str | None = None) -> ApiClient:
    """Return a client, with this access token."""
    return ApiClient(Configuration(host=f"{service}/api", access_token=token))


def error_of(kind: type[Model], request: Callable[[], object]) -> Model:
    """Return the body of the error with which a request ends."""
    try:
        request()
    except ApiException as error:
        if isinstance(error.data, kind):
            return error.data
        raise
    raise AssertionError("no error")


def registration(service: str, email: str) -> list[str]:
    """Register a user."""
    api = RegistrationApi(client(service))
    unknown = error_of(UserUnknownResponse, lambda: api.look_up_user(email))
    user = api.sign_up(SignUpRequest(email=email)).data
    assert not user.verified_mail
    sent = api.send_registration_code(user.id, send_code_request=SendCodeRequest(code="7505"))
    assert sent.data.expires_in > 0
    again = api.resend_registration_code(user.id, send_code_request=SendCodeRequest(code="7506"))
    assert again.success
    wrong = error_of(
        ConfirmEmailNotFoundResponse,
        lambda: api.confirm_email(user.id, confirm_email_request=ConfirmEmailRequest(code="0000")),
    )
    assert wrong.error.attempts_left == 4
    confirmed = api.confirm_email(user.id, confirm_email_request=ConfirmEmailRequest(code="7506"))
    assert confirmed.result == "Ok"
    finish = FinishRegistrationRequest(password=PASSWORD)
    finished = api.finish_sign_up(user.id, finish_registration_request=finish)
    assert finished.data.verified_mail
    steps = ["sign_up", "send_code", "resend_code", wrong.error.code, "confirm_email", "finish_sign_up"]
    return [unknown.error.code, *steps]


def session(service: str, email: str) -> list[str]:
    """Sign in, refresh and sign out."""
    anonymous = SessionsApi(client(service))
    rejected = error_of(
        SignInUnauthenticatedResponse, lambda: anonymous.sign_in(SignInRequest(email=email, password="wrong"))
    )
    tokens = anonymous.sign_in(SignInRequest(email=email, password=PASSWORD)).data
    assert tokens.token_type == "Bearer"
    me = AccountApi(client(service, tokens.access_token)).get_me().data
    assert (me.email, me.acr) == (email, "aal1")
    refreshed = anonymous.refresh_tokens(refresh_request=RefreshRequest(refresh_token=tokens.refresh_token)).data
    assert refreshed.access_token != tokens.access_token
    signed_in = client(service, refreshed.access_token)
    listed = SessionsApi(signed_in).list_my_sessions(limit=5)
    assert [each.method for each in listed.data] == ["password"]
    assert listed.next_cursor is None
    assert SessionsApi(signed_in).sign_out(sign_out_request=SignOutRequest()).result == "Ok"
    after = error_of(RestrictedUnauthenticatedResponse, AccountApi(signed_in).get_me)
    steps = ["sign_in", "get_me", "refresh_tokens", "list_my_sessions", "sign_out"]
    return [rejected.error.code, *steps, after.error.code]


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
