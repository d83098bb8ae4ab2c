"""The original document, word for word: its six requests, its code, its answers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from auth_service.wiring import mail_transport
from tests.support.actors import USERS, ApiClient, refusal
from tests.support.application import MakeApp
from tests.support.fakes import SmtpSink

EMAIL = "sgsf@sgfg.ru"


def said(method: str, path: str, body: str | None, client: Any) -> tuple[int, Any]:
    """Send a request as curl would: no cookies, the body as it stands."""
    answer = client.open(path, method=method, data=body, content_type="application/json" if body else None)
    return answer.status_code, json.loads(answer.text)


@pytest.fixture
def bare(app: Flask) -> Any:
    """A client without cookies."""
    return app.test_client(use_cookies=False)


def test_the_six_requests_of_the_original_document(bare: Any) -> None:
    assert said("GET", f"{USERS}?email={EMAIL}", None, bare) == (
        404,
        {
            "success": False,
            "result": None,
            "error": {"code": "user_unknown", "msg": "No user has this address or id; check it or sign up."},
        },
    )

    status, created = said("POST", f"{USERS}/sign_up", '{\n"email":"sgsf@sgfg.ru"\n}', bare)
    user_id = created["data"]["id"]
    card = {"id": user_id, "email": EMAIL, "roles": ["ROLE_TEMPORARY_USER"], "verified_mail": False}
    assert (status, created) == (201, {"success": True, "data": card})
    assert said("GET", f"{USERS}?email={EMAIL}", None, bare) == (200, {"success": True, "data": card})

    status, sent = said("POST", f"{USERS}/{user_id}/send_code", '{\n\t"code": 7505\n}', bare)
    assert (status, sent) == (200, {"success": True, "result": "Ok", "data": {"expires_in": 600, "resend_after": 0}})

    assert said("PUT", f"{USERS}/{user_id}/mail?code=1111", None, bare) == (
        404,
        {
            "success": False,
            "result": None,
            "error": {
                "code": "code_wrong",
                "msg": "The code does not match; retry while `attempts_left` is above 0, otherwise request a new code.",
                "attempts_left": 4,
            },
        },
    )

    status, sent = said("POST", f"{USERS}/{user_id}/resend_code", '{\n\t"code": 7506\n}', bare)
    assert (status, sent) == (200, {"success": True, "result": "Ok", "data": {"expires_in": 600, "resend_after": 0}})
    assert said("PUT", f"{USERS}/{user_id}/mail?code=7506", None, bare) == (200, {"success": True, "result": "Ok"})

    card |= {"roles": ["ROLE_PORTAL_USER"], "verified_mail": True}
    assert said("PATCH", f"{USERS}/{user_id}/sign_up", None, bare) == (200, {"success": True, "data": card})
    assert said("GET", f"{USERS}?email={EMAIL}", None, bare) == (200, {"success": True, "data": card})


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    """A real SMTP server that keeps what it is given."""
    with SmtpSink() as started:
        yield started


def test_the_same_six_requests_in_production(make_app: MakeApp, sink: SmtpSink) -> None:
    """With a cookie jar, and the code from the letter: what the body of send_code says is ignored."""
    app = make_app(app_env="production", smtp_url=sink.url)
    services = app.extensions["auth_service"]
    api = ApiClient(app)

    def delivered_code(number: int) -> str:
        with app.app_context():
            for letter in services.delivery.lease(at_most=10):
                assert services.delivery.deliver(letter, transport=mail_transport(services.settings)) == "sent"
        subject = sink.wait_for(number, to=EMAIL)[-1].message["Subject"]
        return str(subject).split()[0]

    assert refusal(api.look_up(EMAIL))["code"] == "user_unknown"
    user_id = api.sign_up(EMAIL)
    sent = {"success": True, "result": "Ok", "data": {"expires_in": 600, "resend_after": 0}}
    assert api.ask_for_code(user_id, 7505).json == sent
    first = delivered_code(1)
    assert first != "7505"
    wrong = "111111" if first != "111111" else "222222"
    assert refusal(api.confirm(user_id, wrong)) == {
        "code": "code_wrong",
        "msg": "The code does not match; retry while `attempts_left` is above 0, otherwise request a new code.",
        "attempts_left": 4,
    }
    assert api.ask_again(user_id, 7506).json == sent
    second = delivered_code(2)
    assert api.confirm(user_id, second).json == {"success": True, "result": "Ok"}
    card = {"id": user_id, "email": EMAIL, "roles": ["ROLE_PORTAL_USER"], "verified_mail": True}
    assert api.finish(user_id).json == {"success": True, "data": card}
    assert api.look_up(EMAIL).json == {"success": True, "data": card}
