"""This was not me: the links in letters take an account back."""

import re

from flask import Flask

from tests.actors import Mailbox, Visitor, refusal

EMAIL, PASSWORD = "ada@example.org", "correct horse battery"


def token_in(text: str) -> str:
    [token] = re.findall(r"/account/undo#(\S+)", text)
    return str(token)


def test_lg4_a_sign_in_on_a_new_device_can_be_undone_once(visitor: Visitor, app: Flask, mailbox: Mailbox) -> None:
    visitor.register(EMAIL, mailbox, password=PASSWORD)
    visitor.signed_in(EMAIL, PASSWORD)
    tokens = Visitor(app).signed_in(EMAIL, PASSWORD)
    token = token_in(mailbox.letters_to(EMAIL)[0].text)

    assert visitor.call("POST", "/undo", json={"token": token}).json == {"success": True, "result": "Ok"}

    assert visitor.with_token(tokens["access_token"], "GET", "/me").status_code == 401
    assert visitor.refresh(tokens["refresh_token"]).status_code == 401
    assert visitor.sign_in(EMAIL, PASSWORD).status_code == 401
    again = visitor.call("POST", "/undo", json={"token": token})
    assert (again.status_code, refusal(again)["code"]) == (404, "undo_unknown")
