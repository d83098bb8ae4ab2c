"""The six requests of the registration, sign-in, refresh and sign-out with the client of openapi-python-client."""

import json
import sys

from auth_api import AuthenticatedClient, Client
from auth_api.api.account import get_me
from auth_api.api.registration import (
    confirm_email,
    finish_sign_up,
    look_up_user,
    resend_registration_code,
    send_registration_code,
    sign_up,
)
from auth_api.api.sessions import list_my_sessions, refresh_tokens, sign_in, sign_out
from auth_api.models import (
    CodeSentOkResponse,
    ConfirmEmailNotFoundResponse,
    ConfirmEmailRequest,
    FinishRegistrationRequest,
    MeSuccessResponse,
    OkResponse,
    RefreshRequest,
    RestrictedUnauthenticatedResponse,
    SendCodeRequest,
    SessionListResponse,
    SignInRequest,
    SignInRequestTransport,
    SignInUnauthenticatedResponse,
    SignOutRequest,
    SignUpRequest,
    TokensResponse,
    TokensSuccessResponse,
    UserSuccessResponse,
    UserUnknownResponse,
)

PASSWORD = "correct horse battery"


def main(service: str, email: str) -> list[str]:
    """Run the flow; return the names of its steps."""
    client = Client(base_url=f"{service}/api")
    return [*registration(client, email), *session(client, service, email)]


def registration(client: Client, email: str) -> list[str]:
    """Register a user."""
    unknown = look_up_user.sync(client=client, email=email)
    assert isinstance(unknown, UserUnknownResponse)
    created = sign_up.sync(client=client, body=SignUpRequest(email))
    assert isinstance(created, UserSuccessResponse)
    user_id = created.data.id
    sent = send_registration_code.sync(user_id, client=client, body=SendCodeRequest(code="7505"))
    assert isinstance(sent, CodeSentOkResponse)
    assert sent.data.expires_in > 0
    again = resend_registration_code.sync(user_id, client=client, body=SendCodeRequest(code="7506"))
    assert isinstance(again, CodeSentOkResponse)
    wrong = confirm_email.sync(user_id, client=client, body=ConfirmEmailRequest(code="0000"))
    assert isinstance(wrong, ConfirmEmailNotFoundResponse)
    assert wrong.error.attempts_left == 4
    confirmed = confirm_email.sync(user_id, client=client, body=ConfirmEmailRequest(code="7506"))
    assert isinstance(confirmed, OkResponse)
    finished = finish_sign_up.sync(user_id, client=client, body=FinishRegistrationRequest(password=PASSWORD))
    assert isinstance(finished, UserSuccessResponse)
    assert finished.data.verified_mail
    steps = ["sign_up", "send_code", "resend_code", wrong.error.code.value, "confirm_email", "finish_sign_up"]
    return [unknown.error.code, *steps]


def session(client: Client, service: str, email: str) -> list[str]:
    """Sign in, refresh and sign out."""
    rejected = sign_in.sync(client=client, body=SignInRequest(email, "wrong"))
    assert isinstance(rejected, SignInUnauthenticatedResponse)
    tokens = tokens_of(
        sign_in.sync(client=client, body=SignInRequest(email, PASSWORD, transport=SignInRequestTransport.BEARER))
    )
    me = get_me.sync(client=authenticated(service, tokens))
    assert isinstance(me, MeSuccessResponse)
    assert (me.data.email, me.data.acr) == (email, "aal1")
    refreshed = tokens_of(
        refresh_tokens.sync(client=client, body=RefreshRequest(refresh_token=str(tokens.refresh_token)))
    )
    assert refreshed.access_token != tokens.access_token
    signed_in = authenticated(service, refreshed)
    listed = list_my_sessions.sync(client=signed_in, limit=5)
    assert isinstance(listed, SessionListResponse)
    assert [each.method for each in listed.data] == ["password"]
    assert listed.next_cursor is None
    assert isinstance(sign_out.sync(client=signed_in, body=SignOutRequest()), OkResponse)
    after = get_me.sync(client=signed_in)
    assert isinstance(after, RestrictedUnauthenticatedResponse)
    steps = ["sign_in", "get_me", "refresh_tokens", "list_my_sessions", "sign_out"]
    return [rejected.error.code, *steps, after.error.code]


def tokens_of(answer: object) -> TokensResponse:
    """Return the tokens of a success."""
    assert isinstance(answer, TokensSuccessResponse), answer
    return answer.data


def authenticated(service: str, tokens: TokensResponse) -> AuthenticatedClient:
    """Return a client with an access token."""
    return AuthenticatedClient(base_url=f"{service}/api", token=str(tokens.access_token))


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
