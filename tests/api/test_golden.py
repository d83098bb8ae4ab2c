"""Original specification: its six requests and its code, with the exact responses."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from auth_service.wiring import mail_transport
from tests.support.actors import USERS, ApiClient, refusal
from tests.support.application import MakeApp
from tests.support.smtp_sink import SmtpSink

EMAIL = "sgsf@sgfg.ru"


def send(method: str, path: str, body: str | None, client: Any) -> tuple[int, Any]:
    """Send a request as curl would: no cookies, the body unchanged."""
    response = client.open(path, method=method, data=body, content_type="application/json" if body else None)
    return response.status_code, json.loads(response.text)


@pytest.fixture
def bare(app: Flask) -> Any:
    """A client without cookies."""
    return app.test_client(use_cookies=False)


def test_the_six_requests_of_the_original_specification(bare: Any) -> None:
    assert send("GET", f"{USERS}?email={EMAIL}", None, bare) == (
        404,
        {
            "success": False,
            "result": None,
            "error": {"code": "user_unknown", "msg": "No user has this address or id; check it or sign up."},
        },
    )

    status, created = send("POST", f"{USERS}/sign_up", '{\n"email":"sgsf@sgfg.ru"\n}', bare)
    user_id = created["data"]["id"]
    user = {"id": user_id, "email": EMAIL, "roles": ["ROLE_TEMPORARY_USER"], "verified_mail": False}
    assert (status, created) == (201, {"success": True, "data": user})
    assert send("GET", f"{USERS}?email={EMAIL}", None, bare) == (200, {"success": True, "data": user})

    status, sent = send("POST", f"{USERS}/{user_id}/send_code", '{\n\t"code": 7505\n}', bare)
    assert (status, sent) == (200, {"success": True, "result": "Ok", "data": {"expires_in": 600, "resend_after": 0}})

    assert send("PUT", f"{USERS}/{user_id}/mail?code=1111", None, bare) == (
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

    status, sent = send("POST", f"{USERS}/{user_id}/resend_code", '{\n\t"code": 7506\n}', bare)
    assert (status, sent) == (200, {"success": True, "result": "Ok", "data": {"expires_in": 600, "resend_after": 0}})
    assert send("PUT", f"{USERS}/{user_id}/mail?code=7506", None, bare) == (200, {"success": True, "result": "Ok"})

    user |= {"roles": ["ROLE_PORTAL_USER"], "verified_mail": True}
    assert send("PATCH", f"{USERS}/{user_id}/sign_up", None, bare) == (200, {"success": True, "data": user})
    assert send("GET", f"{USERS}?email={EMAIL}", None, bare) == (200, {"success": True, "data": user})


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    """A real SMTP server that stores the emails it receives."""
    with SmtpSink() as started:
        yield started


def test_the_six_requests_in_production_use_the_emailed_code(make_app: MakeApp, sink: SmtpSink) -> None:
    """With a cookie jar and the emailed code: production ignores the client-supplied code of send_code."""
    app = make_app(app_env="production", smtp_url=sink.url)
    services = app.extensions["auth_service"]
    api = ApiClient(app)

    def delivered_code(number: int) -> str:
        with app.app_context():
            for message in services.delivery.claim(at_most=10):
                assert services.delivery.deliver(message, transport=mail_transport(services.settings)) == "sent"
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
    user = {"id": user_id, "email": EMAIL, "roles": ["ROLE_PORTAL_USER"], "verified_mail": True}
    assert api.finish(user_id).json == {"success": True, "data": user}
    assert api.look_up(EMAIL).json == {"success": True, "data": user}
