"""Tickets of the second step: useless elsewhere, and after a change of the account."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.support.actors import ADA, PASSWORD, ApiClient, Mailbox, refusal
from tests.support.administration import AdminClient, Administration
from tests.support.contracts import contracts
from tests.support.second_factor import ProtectedUser
from tests.support.stores import Query

UUID = "00000000-0000-4000-8000-000000000000"
PLACE = {"user_id": "4711", "name": "ROLE_UNKNOWN"}


def test_sf6_the_ticket_opens_no_other_endpoint(app: Flask, protected: ProtectedUser) -> None:
    ticket = protected.ticket()
    client = app.test_client(use_cookies=False)
    headers = {"Authorization": f"Bearer {ticket}", "Cookie": f"access={ticket}; refresh={ticket}"}
    tried = 0
    for method, rule, contract in contracts(app):
        if contract is None or not (contract.access.needs_token or contract.access.takes_service_key):
            continue
        if contract.access.is_open or rule.endswith("/sign_out") or "everywhere" in rule:
            continue
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: PLACE.get(match[1], UUID), rule)
        attempts: tuple[dict[str, Any], ...] = (
            {"headers": {"Authorization": headers["Authorization"]}},
            {"headers": {"Cookie": headers["Cookie"], "X-Requested-With": "x", "Origin": "http://127.0.0.1:5000"}},
            {"json": {"ticket": ticket, "token": ticket}},
        )
        for sent in attempts:
            answer = client.open(path, method=method, base_url="https://localhost", **sent)
            assert answer.status_code in (401, 403), (method, path, answer.text)
            tried += 1
    assert tried > 100
    refreshed = protected.api.call("POST", "/refresh_token", json={"refresh_token": ticket})
    assert refreshed.status_code == 401


Change = Callable[[ProtectedUser, AdminClient, int, Mailbox], None]


def change_password(user: ProtectedUser, admin: AdminClient, user_id: int, mailbox: Mailbox) -> None:
    assert user.api.change_password(user.access_token, PASSWORD, "another horse battery").status_code == 200


def reset_password(user: ProtectedUser, admin: AdminClient, user_id: int, mailbox: Mailbox) -> None:
    user.api.ask_to_recover(ADA)
    assert user.api.recover(ADA, mailbox.code_sent_to(ADA), "another horse battery").status_code == 200


def ban(user: ProtectedUser, admin: AdminClient, user_id: int, mailbox: Mailbox) -> None:
    admin.data("PUT", f"/admin/users/{user_id}/ban", json={"reason": "a test"})


def delete(user: ProtectedUser, admin: AdminClient, user_id: int, mailbox: Mailbox) -> None:
    admin.data("DELETE", f"/admin/users/{user_id}", json={"reason": "a test"})


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (change_password, "second_step_expired"),
        (reset_password, "second_step_expired"),
        (ban, "account_banned"),
        (delete, "second_step_expired"),
    ],
)
def test_sf6_a_ticket_is_useless_after_a_change_of_the_account(
    app: Flask, ada: int, protected: ProtectedUser, mailbox: Mailbox, change: Change, error: str
) -> None:
    admin = Administration(app, mailbox).administrator()
    ticket, code = protected.ticket(), protected.unused_code()
    change(protected, admin, ada, mailbox)

    answer = protected.second_step(ticket, totp=code)

    assert refusal(answer)["code"] == error
    assert "Set-Cookie" not in answer.headers


def test_a_password_reset_changes_no_second_factor(protected: ProtectedUser, mailbox: Mailbox) -> None:
    reset_password(protected, AdminClient(protected.api.client.application, {}), 0, mailbox)

    answer = protected.api.sign_in(ADA, "another horse battery")

    assert refusal(answer)["code"] == "second_factor_required"


@pytest.mark.parametrize("ticket", ["", "A", "x" * 1024])
def test_a_malformed_ticket_is_no_ticket(ada: int, api: ApiClient, ticket: str) -> None:
    answer = api.call("POST", "/sign_in/second_step", json={"ticket": ticket, "totp": "123456"})

    assert (answer.status_code, refusal(answer)["code"]) in {(401, "second_step_expired"), (422, "validation_failed")}


def test_sf14_the_second_step_works_without_redis(
    make_app: Callable[..., Flask], protected: ProtectedUser, query: Query
) -> None:
    without_redis = make_app(redis_url="redis://127.0.0.1:1/0")
    user = ProtectedUser(api=ApiClient(without_redis), email=ADA, app=protected.app, query=query)

    tokens = user.signed_in()

    assert user.api.is_signed_in(tokens["access_token"])
    code = protected.recovery_codes[0]
    assert user.second_step(user.ticket(), recovery_code=code).status_code == 200
