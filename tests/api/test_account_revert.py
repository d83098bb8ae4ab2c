"""Account revert: the link of a security notification ends a sign-in that the user does not recognise."""

import re

from flask import Flask

from tests.support.actors import ApiClient, Mailbox, refusal

EMAIL, PASSWORD = "ada@example.org", "correct horse battery"


def token_in(text: str) -> str:
    [token] = re.findall(r"/account/undo#(\S+)", text)
    return str(token)


def test_lg4_a_user_reverts_a_sign_in_on_a_new_device_once(api: ApiClient, app: Flask, mailbox: Mailbox) -> None:
    api.register(EMAIL, mailbox, password=PASSWORD)
    api.signed_in(EMAIL, PASSWORD)
    tokens = ApiClient(app).signed_in(EMAIL, PASSWORD)
    token = token_in(mailbox.letters_to(EMAIL)[0].text)

    assert api.call("POST", "/undo", json={"token": token}).json == {"success": True, "result": "Ok"}

    assert api.with_token(tokens["access_token"], "GET", "/me").status_code == 401
    assert api.refresh(tokens["refresh_token"]).status_code == 401
    assert api.sign_in(EMAIL, PASSWORD).status_code == 401
    replayed = api.call("POST", "/undo", json={"token": token})
    assert (replayed.status_code, refusal(replayed)["code"]) == (404, "undo_unknown")
